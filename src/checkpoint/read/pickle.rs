//! Reads the pickle of a state dict: tensors by name, and nothing else.

use super::Dtype;
use super::machine::{Machine, Value};

/// Why a pickle is refused.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is broken, or more than a state dict.
    Broken(String),
    /// It names a function or class that is not on the list.
    Global(String),
}

impl Fault {
    pub(super) fn broken<T>(fact: impl Into<String>) -> Result<T, Self> {
        Err(Self::Broken(fact.into()))
    }
}

/// A piece of memory that tensors are views of.
#[derive(Debug, Clone)]
pub(super) struct Storage {
    /// Its name in the archive.
    pub(super) key: String,
    pub(super) dtype: Result<Dtype, String>,
}

/// A tensor as the pickle describes it.
#[derive(Debug, Clone)]
pub(super) struct Pickled {
    pub(super) storage: Storage,
    pub(super) dtype: Result<Dtype, String>,
    /// In elements.
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

impl Pickled {
    /// Whether the elements lie one after the other, the last dimension fastest.
    pub(super) fn is_contiguous(&self) -> bool {
        let mut expected = Some(1_usize);
        for (size, stride) in self.shape.iter().zip(&self.strides).rev() {
            // The stride of a dimension of one element means nothing.
            if *size > 1 && Some(*stride) != expected {
                return false;
            }
            expected = expected.and_then(|e| e.checked_mul(*size));
        }
        true
    }
}

/// The tensors of a pickled state dict, in its order.
pub(super) fn state_dict(bytes: &[u8]) -> Result<Vec<(String, Pickled)>, Fault> {
    let mut machine = Machine::new(bytes);
    let root = machine.run()?;
    let Value::Dict(items) = machine.value(root)? else {
        return Fault::broken("it holds no dictionary of tensors");
    };
    let mut tensors = Vec::with_capacity(items.len());
    for (key, value) in items {
        let Value::Text(name) = machine.value(*key)? else {
            return Fault::broken("a key of the dictionary is not text");
        };
        let Value::Tensor(tensor) = machine.value(*value)? else {
            return Fault::broken(format!("`{name}` is not a tensor"));
        };
        tensors.push((name.clone(), tensor.clone()));
    }
    Ok(tensors)
}
