//! Holds a weight file against the configuration: which tensor becomes which, or what is wrong.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use flate2::Crc;

use super::config::Dims;
use super::error::{Error, Result};
use super::names::{BareNames, Expected, OPENAI_MASK, TEXT_POSITIONS, TIED, TOKEN_EMBEDDING, expected};
use super::read::{Dtype, Tensor, Weights};

/// Everything that goes into the file, in its order.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) dims: Dims,
    pub(crate) tensors: Vec<Planned>,
}

/// One tensor: what it must be, and where it is.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) expected: Expected,
    pub(crate) source: Tensor,
    pub(crate) dtype: Dtype,
}

/// Checks every tensor's name, shape, type and layout.
pub(crate) fn plan(weights: &mut Weights, dims: Dims, tied: bool) -> Result<Plan> {
    let (plan, faults) = plan_all(weights, dims, tied)?;
    faults.into_iter().next().map_or(Ok(plan), Err)
}

/// The same, with all that is wrong with single tensors; the plan has the others.
pub(crate) fn plan_all(weights: &mut Weights, mut dims: Dims, tied: bool) -> Result<(Plan, Vec<Error>)> {
    let path = weights.path.clone();
    let mut found = bare_names(&path, weights, &dims)?;

    let output = found.remove(TIED);
    match (output, found.get(TOKEN_EMBEDDING)) {
        // Some writers keep only one name of the two that share these bytes.
        (Some(output), None) if tied => drop(found.insert(TOKEN_EMBEDDING.into(), output)),
        (Some(output), Some(embedding)) if !output.is_same_as(embedding) => {
            let embedding = embedding.clone();
            if checksum(weights, &output)? != checksum(weights, &embedding)? {
                let fact = format!("`{TIED}` differs from the token embedding");
                if !tied {
                    return Err(Error::Unsupported { path, fact });
                }
                tracing::warn!(
                    "{}: {fact}; the configuration ties the two, so it is ignored",
                    path.display()
                );
            }
        }
        _ => {}
    }

    // Configurations often have a wrong length here, or one meant for something else.
    if let Some(tensor) = found.get(TEXT_POSITIONS)
        && let [rows, _] = tensor.shape.as_slice()
    {
        dims.n_text_ctx = *rows;
        dims.check().map_err(|(_, fact)| Error::Unsupported {
            path: path.clone(),
            fact: format!("`{TEXT_POSITIONS}` has {rows} rows: {fact}"),
        })?;
    }

    let (mut tensors, mut faults) = (Vec::new(), Vec::new());
    for expected in expected(&dims) {
        let (path, tensor) = (path.clone(), expected.hf.clone());
        let Some(source) = found.remove(&expected.hf) else {
            faults.push(Error::MissingTensor { path, tensor });
            continue;
        };
        if source.shape != expected.shape {
            faults.push(Error::Shape { path, tensor, found: source.shape, expected: expected.shape });
        } else if source.is_spread() {
            faults.push(Error::NotContiguous { path, tensor });
        } else {
            match source.dtype.clone() {
                Ok(dtype) => tensors.push(Planned { expected, source, dtype }),
                Err(dtype) => faults.push(Error::Dtype { path, tensor, dtype }),
            }
        }
    }
    faults.extend(found.into_keys().map(|tensor| Error::UnknownTensor { path: path.clone(), tensor }));
    Ok((Plan { dims, tensors }, faults))
}

/// The tensors by their bare names.
fn bare_names(path: &Path, weights: &Weights, dims: &Dims) -> Result<BTreeMap<String, Tensor>> {
    let names = BareNames::new(dims);
    let mut bare = BTreeMap::new();
    for (name, tensor) in &weights.tensors {
        let short = names.of(name);
        if weights.dims.is_some() && short == OPENAI_MASK {
            continue;
        }
        if bare.insert(short.clone(), tensor.clone()).is_some() {
            return Err(Error::DuplicateTensor { path: path.to_path_buf(), tensor: short });
        }
    }
    Ok(bare)
}

/// A checksum of a tensor's bytes.
fn checksum(weights: &mut Weights, tensor: &Tensor) -> Result<Option<(usize, u32)>> {
    let path = weights.path.clone();
    let Some(size) = tensor.size().filter(|_| !tensor.is_spread()) else { return Ok(None) };
    let mut bytes = weights.bytes(tensor)?.take(size as u64);
    let mut crc = Crc::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match bytes.read(&mut buffer).map_err(Error::read(&path))? {
            0 => return Ok(Some((size, crc.sum()))),
            n => crc.update(buffer.get(..n).unwrap_or_default()),
        }
    }
}
