//! A file system of its own for one directory, whose writes can be stalled: an ext4 in a file,
//! mounted over the directory and frozen by the kernel. Needs root and loop devices.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

#[derive(Debug)]
pub struct Disk {
    dir: PathBuf,
    image: PathBuf,
}

fn run(program: &str, args: &[&str], paths: &[&Path]) -> Result<()> {
    let output = Command::new(program).args(args).args(paths).output();
    let output = output.with_context(|| format!("{program}: is it installed?"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {args:?} {paths:?}: {said}");
    Ok(())
}

impl Disk {
    /// Moves what is in the directory onto a disk of its own, mounted there. Nobody uses the
    /// directory meanwhile.
    pub fn under(dir: &Path, mib: u64) -> Result<Disk> {
        let (image, aside) = (dir.with_extension("ext4"), dir.with_extension("aside"));
        std::fs::File::create(&image)?.set_len(mib << 20)?;
        run("mkfs.ext4", &["-q", "-F"], &[&image])?;
        std::fs::rename(dir, &aside)?;
        std::fs::create_dir(dir)?;
        run("mount", &["-o", "loop"], &[&image, dir])?;
        let disk = Disk { dir: dir.to_owned(), image };
        run("cp", &["-a"], &[&aside.join("."), dir])?;
        std::fs::remove_dir_all(aside)?;
        let found = dir.join("lost+found");
        std::fs::remove_dir_all(found)?;
        Ok(disk)
    }

    /// From now on every write waits.
    pub fn freeze(&self) -> Result<()> {
        run("fsfreeze", &["--freeze"], &[&self.dir])
    }

    pub fn thaw(&self) -> Result<()> {
        run("fsfreeze", &["--unfreeze"], &[&self.dir])
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Fails where it is not frozen. A process that waits for the disk can only end afterwards,
        // and the directory goes when it has: until then it is detached.
        let _ = self.thaw();
        let _ = run("umount", &["--lazy"], &[&self.dir]);
        let _ = std::fs::remove_file(&self.image);
    }
}
