//! Disks that are not as large or as fast as those of the bed: file systems of their own, mounted
//! on a node, which one broker's claim is bound to. They go with the scenario.

use std::sync::PoisonError;

use anyhow::{Context, Result, ensure};

use crate::Scenario;
use crate::command::Tool;

/// A file system on a node, made for one claim.
#[derive(Clone, Debug)]
pub struct Disk {
    pub node: String,
    path: String,
}

impl Scenario {
    /// Memory that stands for a disk: what is in it is counted against its size.
    pub fn small_disk(&self, node: &str, claim: &str, class: &str, size: &str) -> Result<Disk> {
        let disk = self.disk(node, claim);
        let mount = format!("mount -t tmpfs -o size={size},mode=0777 tmpfs {}", disk.path);
        disk.run(&format!("mkdir -p {0} && {mount}", disk.path))?;
        self.offer(&disk, claim, class)?;
        Ok(disk)
    }

    /// A file that stands for a disk, on which a write takes until it is on that disk.
    pub fn synchronous_disk(&self, node: &str, claim: &str, class: &str) -> Result<Disk> {
        let disk = self.disk(node, claim);
        let make = "truncate -s 512M FILE && mkfs.ext4 -q FILE && mkdir -p PATH \
                    && mount -o loop,sync FILE PATH && chmod 0777 PATH && rm -r PATH/lost+found";
        let file = format!("{}.disk", disk.path);
        disk.run(&make.replace("FILE", &file).replace("PATH", &disk.path))?;
        self.offer(&disk, claim, class)?;
        Ok(disk)
    }

    fn disk(&self, node: &str, claim: &str) -> Disk {
        let path = format!("/var/disks/{}-{claim}", self.namespace);
        let disk = Disk { node: node.to_owned(), path };
        self.disks.lock().unwrap_or_else(PoisonError::into_inner).push(disk.clone());
        disk
    }

    /// The volume that the claim, once it is made, is bound to.
    fn offer(&self, disk: &Disk, claim: &str, class: &str) -> Result<()> {
        let (namespace, node, path) = (&self.namespace, &disk.node, &disk.path);
        let volume = format!(
            "\
apiVersion: v1
kind: PersistentVolume
metadata:
  name: {namespace}-{claim}
  labels: {{barnabas.dev/scenario: {namespace}}}
spec:
  capacity: {{storage: 1Gi}}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: {class}
  claimRef: {{namespace: {namespace}, name: {claim}}}
  local: {{path: {path}}}
  nodeAffinity:
    required:
      nodeSelectorTerms:
      - matchExpressions:
        - {{key: kubernetes.io/hostname, operator: In, values: [{node}]}}
"
        );
        self.apply(&volume).map(drop)
    }

    /// Slows the writes to the disk of the process that a pod has now down to so many bytes in a
    /// second; 0: no longer.
    pub fn throttle(&self, disk: &Disk, pod: &str, bytes: u32) -> Result<()> {
        let path = "jsonpath={.status.containerStatuses[0].containerID}";
        let id = self.kubectl(&["get", "pod", pod, "-o", path])?;
        let id = id.strip_prefix("containerd://").context("the pod has no container")?;
        let limit = if bytes == 0 { "max".to_owned() } else { bytes.to_string() };
        let script = THROTTLE.replace("CONTAINER", id).replace("DISK", &disk.path);
        disk.run(&script.replace("LIMIT", &limit))?;
        self.say(format!("writes of {pod} to its disk are limited to {limit} bytes in a second"));
        Ok(())
    }

    /// Unmounts what was mounted, whatever became of the others.
    pub(crate) fn remove_disks(&self) -> Result<()> {
        let disks = std::mem::take(&mut *self.disks.lock().unwrap_or_else(PoisonError::into_inner));
        let mut errors = Vec::new();
        for disk in disks {
            // Its last user may still have it open.
            let path = &disk.path;
            if let Err(error) = disk.run(&format!("umount -l {path}; rm -rf {path} {path}.disk")) {
                errors.push(format!("{error:#}"));
            }
        }
        ensure!(errors.is_empty(), "disks stay: {}", errors.join("; "));
        Ok(())
    }
}

/// By the control group of the container's first process, in either version of them.
const THROTTLE: &str = r#"
pid=$(ctr --namespace k8s.io tasks list | awk '$1 == "CONTAINER" { print $2 }')
source=$(findmnt --noheadings --output SOURCE DISK)
device=$(lsblk --noheadings --output MAJ:MIN "$source" | tr -d ' ')
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  group=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/$pid/cgroup)
  echo "$device wbps=LIMIT" > $group/io.max
else
  group=/sys/fs/cgroup/blkio$(sed -n 's/^[0-9]*:blkio://p' /proc/$pid/cgroup)
  echo "$device $(echo LIMIT | sed s/max/0/)" > $group/blkio.throttle.write_bps_device
fi
"#;

impl Disk {
    /// Writes until nothing more can be written.
    pub fn fill(&self) -> Result<()> {
        let full = "dd if=/dev/zero of=PATH/filler bs=64k || true; df --output=avail PATH";
        let left = self.run(&full.replace("PATH", &self.path))?;
        let left = left.lines().last().unwrap_or_default().trim();
        ensure!(left == "0", "{left} KiB are left on the disk");
        Ok(())
    }

    /// Makes a small disk larger.
    pub fn grow(&self, size: &str) -> Result<()> {
        self.run(&format!("mount -o remount,size={size} {}", self.path)).map(drop)
    }

    fn run(&self, script: &str) -> Result<String> {
        Tool::Docker.run(&["exec", &self.node, "sh", "-ec", script])
    }
}
