use super::Random;
use crate::audio::Limits;
use crate::audio::level::PEAK;
use crate::audio::samples::{Samples, Writer};

/// Written in blocks of odd sizes, with so many seconds in memory.
fn written(all: &[f32], memory_seconds: u32, limits: &Limits) -> (Samples, f32) {
    let mut writer = Writer::new(&Limits { memory_seconds, ..limits.clone() });
    for block in all.chunks(7_001) {
        writer.push(&mut block.to_vec()).unwrap();
    }
    writer.finish()
}

#[test]
fn what_lies_on_disk_reads_as_what_lies_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { spool_dir: dir.path().to_owned(), ..Limits::default() };
    let mut random = Random(17);
    let mut all: Vec<f32> = (0..50_000).map(|_| random.noise()).collect();
    all[49_000] = f32::NAN;
    let (memory, peak) = written(&all, 4, &limits);
    let (disk, same) = written(&all, 1, &limits);
    assert_eq!(peak, same);
    assert_eq!((memory.memory_bytes(), memory.disk_bytes()), (200_000, 0));
    assert_eq!((disk.memory_bytes(), disk.disk_bytes()), (0, 200_000));
    for range in [0..50_000, 0..1, 15_999..16_001, 33_333..44_444, 49_999..60_000, 70_000..80_000] {
        assert_eq!(memory.read(range.clone()).unwrap(), disk.read(range).unwrap());
    }
    let loudest = disk.read(0..50_000).unwrap().iter().fold(0.0_f32, |most, sample| most.max(sample.abs()));
    assert!((loudest - PEAK).abs() < 1e-6);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file has no name");
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let limits = Limits { spool_dir: "/nowhere".into(), memory_seconds: 0, ..Limits::default() };
    assert!(Writer::new(&limits).push(&mut [0.5]).is_err());
}
