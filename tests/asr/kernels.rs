//! The arithmetic that src/asr/ext puts into whisper.cpp, beside the formula in 64-bit floats.
#![allow(unsafe_code, reason = "ggml's own functions, to reach the kernel as whisper.cpp does")]

use std::ptr::null_mut;

use half::f16;
use whisper_rs_sys as sys;

/// One attention: how many queries, keys, heads, numbers per head; the type of keys and values; whether masked.
struct Shape {
    rows: usize,
    keys: usize,
    heads: usize,
    width: usize,
    half: bool,
    mask: bool,
}

/// Random numbers in [−2, 2], the same in every run, rounded to what a tensor of the type can hold.
struct Noise(u32);

impl Noise {
    fn vector(&mut self, n: usize, half: bool) -> Vec<f32> {
        (0..n)
            .map(|_| {
                self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let x = ((self.0 >> 8) as f32 / (1 << 22) as f32) - 2.0;
                if half { f16::from_f32(x).to_f32() } else { x }
            })
            .collect()
    }
}

/// A mask as the decoder's: each row sees some keys, and no key of a whole stretch in the middle.
fn mask(shape: &Shape) -> Vec<f32> {
    let gap = shape.keys / 3..shape.keys * 2 / 3;
    (0..shape.rows * shape.keys)
        .map(|i| (i / shape.keys, i % shape.keys))
        .map(|(row, key)| key != 0 && (gap.contains(&key) || (row + key) % 3 == 0))
        .map(|hidden| if hidden { f32::NEG_INFINITY } else { 0.0 })
        .collect()
}

const SCALE: f32 = 0.3;

/// softmax(Q·Kᵀ·scale + mask)·V, laid out as `[rows][heads][width]`.
fn formula(shape: &Shape, q: &[f32], k: &[f32], v: &[f32], mask: &[f32]) -> Vec<f64> {
    let Shape { rows, keys, heads, width, .. } = *shape;
    let mut out = vec![0.0; rows * heads * width];
    for row in 0..rows {
        for head in 0..heads {
            let at = |m: &[f32], i: usize, n: usize, x: usize| f64::from(m[(head * n + i) * width + x]);
            let scores: Vec<f64> = (0..keys)
                .map(|key| {
                    let dot: f64 = (0..width).map(|x| at(q, row, rows, x) * at(k, key, keys, x)).sum();
                    dot * f64::from(SCALE) + mask.get(row * keys + key).map_or(0.0, |m| f64::from(*m))
                })
                .collect();
            let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scores.iter().map(|s| (s - top).exp()).sum();
            for (key, score) in scores.iter().enumerate() {
                for x in 0..width {
                    out[(row * heads + head) * width + x] += (score - top).exp() / sum * at(v, key, keys, x);
                }
            }
        }
    }
    out
}

/// The same by ggml's flash attention, as it is built into this program.
fn ggml(shape: &Shape, q: &[f32], k: &[f32], v: &[f32], mask: &[f32], threads: i32) -> Vec<f32> {
    let Shape { rows, keys, heads, width, half, .. } = *shape;
    let kind = if half { sys::ggml_type_GGML_TYPE_F16 } else { sys::ggml_type_GGML_TYPE_F32 };
    unsafe {
        let context = sys::ggml_init(sys::ggml_init_params {
            mem_size: 64 << 20,
            mem_buffer: null_mut(),
            no_alloc: false,
        });
        let fill = |kind, rows: usize, heads: usize, width: usize, values: &[f32]| {
            let tensor = sys::ggml_new_tensor_3d(context, kind, width as i64, rows as i64, heads as i64);
            let data = sys::ggml_get_data(tensor);
            if kind == sys::ggml_type_GGML_TYPE_F16 {
                sys::ggml_fp32_to_fp16_row(values.as_ptr(), data.cast(), values.len() as i64);
            } else {
                std::ptr::copy_nonoverlapping(values.as_ptr(), data.cast(), values.len());
            }
            tensor
        };
        let q = fill(sys::ggml_type_GGML_TYPE_F32, rows, heads, width, q);
        let (k, v) = (fill(kind, keys, heads, width, k), fill(kind, keys, heads, width, v));
        let mask = match mask {
            [] => null_mut(),
            // ggml wants the rows of a mask in multiples of 64.
            given => {
                let mut padded = given.to_vec();
                padded.resize(rows.next_multiple_of(64) * keys, 0.0);
                fill(sys::ggml_type_GGML_TYPE_F16, rows.next_multiple_of(64), 1, keys, &padded)
            }
        };
        let result = sys::ggml_flash_attn_ext(context, q, k, v, mask, SCALE, 0.0, 0.0);
        let graph = sys::ggml_new_graph(context);
        sys::ggml_build_forward_expand(graph, result);
        assert_eq!(sys::ggml_graph_compute_with_ctx(context, graph, threads), 0);
        let out = std::slice::from_raw_parts(sys::ggml_get_data_f32(result), rows * heads * width).to_vec();
        sys::ggml_free(context);
        out
    }
}

/// Sums in 16 bits would be off by 1e-3.
#[test]
fn attention_follows_the_formula() {
    let mut noise = Noise(7);
    for rows in [1, 2, 3, 4, 5, 8, 9, 16, 63, 64, 65, 150] {
        for (keys, width) in [(1, 64), (59, 64), (60, 64), (61, 32), (182, 64), (187, 128), (530, 64)] {
            for (half, masked) in [(true, false), (true, true), (false, false), (false, true)] {
                let shape = Shape { rows, keys, heads: 3, width, half, mask: masked };
                let q = noise.vector(rows * shape.heads * width, false);
                let k = noise.vector(keys * shape.heads * width, half);
                let v = noise.vector(keys * shape.heads * width, half);
                let mask = if shape.mask { mask(&shape) } else { Vec::new() };
                let wanted = formula(&shape, &q, &k, &v, &mask);
                for threads in [1, 3] {
                    let found = ggml(&shape, &q, &k, &v, &mask, threads);
                    let far = wanted.iter().zip(&found).map(|(a, b)| (a - f64::from(*b)).abs());
                    let far = far.fold(0.0, f64::max);
                    assert!(
                        far < 1e-5,
                        "{rows} queries, {keys} keys of {width}, half {half}, masked {masked}: off by {far:e}"
                    );
                }
            }
        }
    }
}

unsafe extern "C" {
    static imesli_packed: std::ffi::c_char;
    fn imesli_packed_flip() -> i32;
}

/// Blocks of q8_0 as src/asr/ext/packed.h says: sixteen rows side by side, scales first, then four bytes of each.
fn pack(weights: &[u8], rows: usize, width: usize, flip: u8) -> Vec<u8> {
    let row_bytes = width / 32 * 34;
    let full = rows / 16 * 16;
    let mut out = Vec::with_capacity(weights.len());
    for tile in weights[..full * row_bytes].chunks(16 * row_bytes) {
        for block in 0..width / 32 {
            let of = |row: usize| &tile[row * row_bytes + block * 34..][..34];
            (0..16).for_each(|row| out.extend_from_slice(&of(row)[..2]));
            for four in 0..8 {
                (0..16)
                    .for_each(|row| out.extend(of(row)[2 + 4 * four..][..4].iter().map(|byte| byte ^ flip)));
            }
        }
    }
    out.extend_from_slice(&weights[full * row_bytes..]);
    out
}

/// The weights as whisper.cpp's tensors have them after they were loaded, and what marks them; `None` where this processor
/// has no kernel for that.
fn packed(weights: &[u8], rows: usize, width: usize) -> Option<(Vec<u8>, *mut std::ffi::c_void)> {
    let flip = u8::try_from(unsafe { imesli_packed_flip() }).ok()?;
    let mark = (&raw const imesli_packed).cast_mut().cast();
    (width <= 5120).then(|| (pack(weights, rows, width, flip), mark))
}

/// ggml's product of weights [rows][width] of a type with columns [n][width], which it rounds to that type too.
fn product(
    kind: sys::ggml_type,
    weights: &[u8],
    mark: *mut std::ffi::c_void,
    columns: &[f32],
    rows: usize,
    width: usize,
    threads: i32,
) -> Vec<f32> {
    let n = columns.len() / width;
    unsafe {
        let context = sys::ggml_init(sys::ggml_init_params {
            mem_size: 64 << 20,
            mem_buffer: null_mut(),
            no_alloc: false,
        });
        let a = sys::ggml_new_tensor_2d(context, kind, width as i64, rows as i64);
        std::ptr::copy_nonoverlapping(weights.as_ptr(), sys::ggml_get_data(a).cast(), weights.len());
        (*a).extra = mark;
        let kind = sys::ggml_type_GGML_TYPE_F32;
        let b = sys::ggml_new_tensor_2d(context, kind, width as i64, n as i64);
        std::ptr::copy_nonoverlapping(columns.as_ptr(), sys::ggml_get_data_f32(b), columns.len());
        let result = sys::ggml_mul_mat(context, a, b);
        let graph = sys::ggml_new_graph(context);
        sys::ggml_build_forward_expand(graph, result);
        assert_eq!(sys::ggml_graph_compute_with_ctx(context, graph, threads), 0);
        let out = std::slice::from_raw_parts(sys::ggml_get_data_f32(result), rows * n).to_vec();
        sys::ggml_free(context);
        out
    }
}

/// Rounds to q8_0: the bytes, and the values that they stand for.
fn q8_0(values: &[f32], width: usize) -> (Vec<u8>, Vec<f32>) {
    let mut bytes = vec![0; values.len() / 32 * 34];
    let rows = (values.len() / width) as i64;
    unsafe {
        let kind = sys::ggml_type_GGML_TYPE_Q8_0;
        let out = bytes.as_mut_ptr().cast();
        sys::ggml_quantize_chunk(kind, values.as_ptr(), out, 0, rows, width as i64, std::ptr::null());
    }
    let blocks = bytes.chunks_exact(34).flat_map(|block| {
        let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
        block[2..].iter().map(move |q| scale * f32::from(q.cast_signed()))
    });
    let values = blocks.collect();
    (bytes, values)
}

#[test]
fn products_of_q8_0_follow_the_formula() {
    let mut noise = Noise(11);
    // Odd numbers of blocks, rows that are no multiple of sixteen, columns for one to three groups and threads.
    for width in [32, 64, 96, 768, 5120, 5152] {
        for rows in [1, 7, 16, 66, 130] {
            for n in [1, 2, 3, 5, 8, 48, 49, 150] {
                if width > 768 && n > 49 {
                    continue;
                }
                let (weights, rounded) = q8_0(&noise.vector(rows * width, false), width);
                // Rounded once already: the two roundings of ggml differ where a value lies between two steps.
                let (_, seen) = q8_0(&noise.vector(n * width, false), width);
                let wanted: Vec<f64> = (0..n * rows)
                    .map(|index| (index / rows, index % rows))
                    .map(|(column, row)| {
                        let pair =
                            rounded[row * width..][..width].iter().zip(&seen[column * width..][..width]);
                        pair.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
                    })
                    .collect();
                let plain = (weights.clone(), null_mut());
                for (how, (weights, mark)) in
                    [("plain", Some(plain)), ("packed", packed(&weights, rows, width))]
                        .into_iter()
                        .filter_map(|(how, weights)| Some((how, weights?)))
                {
                    for threads in [1, 3] {
                        let found = product(
                            sys::ggml_type_GGML_TYPE_Q8_0,
                            &weights,
                            mark,
                            &seen,
                            rows,
                            width,
                            threads,
                        );
                        let far = wanted.iter().zip(&found).map(|(a, b)| (a - f64::from(*b)).abs());
                        let far = far.fold(0.0, f64::max);
                        assert!(
                            far < 1e-4 * (width as f64).sqrt(),
                            "{how}, {rows} × {width} · {n} columns: off by {far:e}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn products_of_f16_follow_the_formula() {
    let mut noise = Noise(17);
    for width in [32, 48, 56, 768, 5120] {
        for rows in [1, 3, 4, 7, 66] {
            for n in 1..10 {
                let (weights, seen) = (noise.vector(rows * width, true), noise.vector(n * width, true));
                let bytes: Vec<u8> = weights.iter().flat_map(|w| f16::from_f32(*w).to_le_bytes()).collect();
                for threads in [1, 3] {
                    let kind = sys::ggml_type_GGML_TYPE_F16;
                    let found = product(kind, &bytes, null_mut(), &seen, rows, width, threads);
                    for (index, found) in found.iter().enumerate() {
                        let (column, row) = (index / rows, index % rows);
                        let pair =
                            weights[row * width..][..width].iter().zip(&seen[column * width..][..width]);
                        let wanted: f64 = pair.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                        let far = (wanted - f64::from(*found)).abs();
                        assert!(
                            far < 1e-4 * (width as f64).sqrt(),
                            "{rows} × {width} · {n} columns: off by {far:e}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn rows_of_packed_weights_are_found() {
    let (rows, width) = (40, 96);
    let (weights, rounded) = q8_0(&Noise(13).vector(rows * width, false), width);
    let Some((weights, mark)) = packed(&weights, rows, width) else { return };
    let wanted: [i32; 5] = [0, 31, 17, 39, 32];
    let found = unsafe {
        let context = sys::ggml_init(sys::ggml_init_params {
            mem_size: 1 << 20,
            mem_buffer: null_mut(),
            no_alloc: false,
        });
        let a = sys::ggml_new_tensor_2d(context, sys::ggml_type_GGML_TYPE_Q8_0, width as i64, rows as i64);
        std::ptr::copy_nonoverlapping(weights.as_ptr(), sys::ggml_get_data(a).cast(), weights.len());
        (*a).extra = mark;
        let ids = sys::ggml_new_tensor_1d(context, sys::ggml_type_GGML_TYPE_I32, wanted.len() as i64);
        std::ptr::copy_nonoverlapping(wanted.as_ptr(), sys::ggml_get_data(ids).cast(), wanted.len());
        let result = sys::ggml_get_rows(context, a, ids);
        let graph = sys::ggml_new_graph(context);
        sys::ggml_build_forward_expand(graph, result);
        assert_eq!(sys::ggml_graph_compute_with_ctx(context, graph, 2), 0);
        let out = std::slice::from_raw_parts(sys::ggml_get_data_f32(result), wanted.len() * width).to_vec();
        sys::ggml_free(context);
        out
    };
    let expected: Vec<f32> =
        wanted.iter().flat_map(|row| rounded[*row as usize * width..][..width].iter().copied()).collect();
    assert_eq!(found, expected);
}
