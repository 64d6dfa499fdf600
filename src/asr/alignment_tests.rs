#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails may panic")]

use super::*;

/// Numbers that look random, so that failures repeat.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u32 << 24) as f32
    };
    (0..count).map(|_| next()).collect()
}

/// `scipy.signal.medfilt` with mirrored ends, by sorting.
fn slow_median(row: &[f32], at: usize) -> f32 {
    let last = row.len() as i64 - 1;
    let mirrored = |i: i64| {
        if i < 0 {
            -i
        } else if i > last {
            2 * last - i
        } else {
            i
        }
    };
    let mut around: Vec<f32> = (-3..=3).map(|d| row[mirrored(at as i64 + d) as usize]).collect();
    around.sort_by(f32::total_cmp);
    around[3]
}

#[test]
fn the_median_is_that_of_a_sort() {
    for (seed, length) in [(1, 4), (2, 5), (3, 7), (4, 64), (5, 301)] {
        // Few different values, so that there are equal ones.
        let row: Vec<f32> = numbers(length, seed).iter().map(|n| (n * 6.0).floor()).collect();
        let mut found = vec![0.0; length];
        add_median(&row, &mut found);
        let wanted: Vec<f32> = (0..length).map(|at| slow_median(&row, at)).collect();
        assert_eq!(found, wanted, "{row:?}");
    }
}

#[test]
fn a_row_too_short_to_mirror_stays() {
    let mut found = vec![1.0; 3];
    add_median(&[5.0, 1.0, 2.0], &mut found);
    assert_eq!(found, [6.0, 2.0, 3.0]);
}

/// The cheapest way by trying all of them: its cost, with the column in which each row begins.
fn all_ways(cost: &[f32], columns: usize) -> Vec<(f32, Vec<usize>)> {
    let rows = cost.len() / columns;
    let mut done = Vec::new();
    let mut ways = vec![(cost[0], vec![0], 0)];
    while let Some((sum, begins, column)) = ways.pop() {
        let row = begins.len() - 1;
        if row + 1 == rows && column + 1 == columns {
            done.push((sum, begins));
            continue;
        }
        if column + 1 < columns {
            ways.push((sum + cost[row * columns + column + 1], begins.clone(), column + 1));
        }
        for step in [0, 1] {
            if row + 1 < rows && column + step < columns {
                let next = [&begins[..], &[column + step]].concat();
                ways.push((sum + cost[(row + 1) * columns + column + step], next, column + step));
            }
        }
    }
    done
}

#[test]
fn warping_finds_the_cheapest_of_all_ways() {
    for seed in 0..200 {
        let (rows, columns) = (1 + seed as usize % 5, 1 + (seed as usize / 5) % 6);
        let cost: Vec<f32> = numbers(rows * columns, seed + 1).iter().map(|n| n - 0.7).collect();
        let begins = warp(&cost, columns);
        let ways = all_ways(&cost, columns);
        let least = ways.iter().map(|(sum, _)| *sum).fold(f32::INFINITY, f32::min);
        let ours = ways.iter().filter(|(_, b)| *b == begins).map(|(sum, _)| *sum);
        let ours = ours.fold(f32::INFINITY, f32::min);
        assert!((ours - least).abs() < 1e-5, "{rows} × {columns}: {begins:?} costs {ours}, the best {least}");
    }
}

#[test]
fn a_diagonal_of_attention_gives_the_times() {
    // Token i looks at frames 10 i to 10 i + 9, in two heads; in frame 35 all tokens look.
    let (tokens, frames) = (5, 50);
    let mut evidence = Evidence::new(tokens, frames);
    let mut weights: Vec<f32> = (0..2 * tokens * frames)
        .map(|i| {
            let (token, frame) = (i / frames % tokens, i % frames);
            if frame / 10 == token { 0.1 } else { 0.001 * (i % 7) as f32 }
        })
        .collect();
    (0..2 * tokens).for_each(|row| weights[row * frames + 35] = 1.0);
    evidence.add(&mut weights);
    assert_eq!(evidence.begins(0..tokens), Some(vec![0, 10, 20, 30, 40]));
}

#[test]
fn normalised_frames_have_mean_0_and_deviation_1() {
    let (tokens, frames) = (6, 3);
    let mut head = numbers(tokens * frames, 9);
    (0..tokens).for_each(|token| head[token * frames + 1] = 0.25);
    normalise(&mut head, frames);
    for frame in 0..frames {
        let column: Vec<f32> = (0..tokens).map(|token| head[token * frames + frame]).collect();
        let mean = column.iter().sum::<f32>() / tokens as f32;
        let variance = column.iter().map(|w| w * w).sum::<f32>() / tokens as f32;
        assert!(mean.abs() < 1e-5, "{column:?}");
        let wanted = if frame == 1 { 0.0 } else { 1.0 };
        assert!((variance - wanted).abs() < 1e-4, "{column:?}");
    }
}

#[test]
fn what_is_no_number_is_no_evidence() {
    let mut evidence = Evidence::new(2, 4);
    evidence.add(&mut [f32::NAN; 8]);
    assert_eq!(evidence.begins(0..2), None);
    assert_eq!(Evidence::new(2, 4).begins(0..3), None, "more rows than there are");
}

#[test]
fn heads_are_the_checkpoints_or_those_of_the_last_layers() {
    let dims = Dims {
        n_vocab: 1,
        n_audio_ctx: 1,
        n_text_ctx: 1,
        n_mels: 1,
        n_audio_layer: 1,
        n_text_layer: 3,
        n_text_head: 2,
    };
    let head = |layer, head| Head { layer, head };
    assert_eq!(heads(&[head(1, 1), head(3, 0), head(0, 2), head(-1, 0)], dims), [head(1, 1)]);
    let last = [head(1, 0), head(1, 1), head(2, 0), head(2, 1)];
    assert_eq!(heads(&[], dims), last);
    assert_eq!(heads(&[head(9, 9)], dims), last);
}
