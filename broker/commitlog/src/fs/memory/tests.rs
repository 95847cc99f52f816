//! Tests of the fault model itself.
#![allow(clippy::unwrap_used)]
use super::*;

fn write(fs: &MemFs, path: &str, data: &[u8]) -> Arc<dyn File> {
    let file = fs.open(Path::new(path), OpenMode::Create).unwrap();
    file.write_all_at(&[IoSlice::new(data)], 0).unwrap();
    file
}

#[test]
fn synced_files_and_names_survive_every_crash() {
    for seed in 0..200 {
        let mut rng = seed;
        let fs = MemFs::new();
        fs.create_dir_all(Path::new("/d")).unwrap();
        write(&fs, "/d/a", b"durable").sync().unwrap();
        fs.sync_dir(Path::new("/d")).unwrap();
        fs.sync_dir(Path::new("/")).unwrap();
        let unsynced = write(&fs, "/d/b", b"lost?");
        fs.crash(&mut rng);
        assert_eq!(fs.contents(Path::new("/d/a")).unwrap(), b"durable");
        assert!(unsynced.len().is_err(), "handles do not outlive the crash");
    }
}

#[test]
fn unsynced_data_is_sometimes_whole_lost_and_torn() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let mut rng = seed;
        let fs = MemFs::new();
        let file = write(&fs, "/a", &[]);
        file.sync().unwrap();
        fs.sync_dir(Path::new("/")).unwrap();
        file.write_all_at(&[IoSlice::new(&[7; 2000])], 0).unwrap();
        fs.crash(&mut rng);
        let content = fs.contents(Path::new("/a")).unwrap();
        seen.insert((content.len() == 2000, content.is_empty(), content.contains(&0)));
    }
    assert!(seen.contains(&(true, false, false)), "whole");
    assert!(seen.contains(&(false, true, false)), "lost");
    assert!(seen.contains(&(false, false, false)), "cut");
    assert!(seen.contains(&(true, false, true)), "sectors missing");
}

#[test]
fn a_full_disk_takes_what_fits() {
    let fs = MemFs::new();
    fs.set_faults(Faults { capacity_bytes: Some(10), ..Faults::default() });
    let file = write(&fs, "/a", b"12345678");
    let error = file.write_all_at(&[IoSlice::new(b"9012")], 8).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(fs.contents(Path::new("/a")).unwrap(), b"1234567890");
}
