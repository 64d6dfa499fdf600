//! Reads the pickle of a state dict: tensors by name, and nothing else.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use super::super::error::Error;
use super::Dtype;
use super::machine::{Id, Machine, Value};

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

    pub(super) fn at(path: &Path) -> impl FnOnce(Self) -> Error + '_ {
        move |fault| match fault {
            Self::Broken(fact) => Error::Pickle { path: path.to_path_buf(), fact },
            Self::Global(name) => Error::PickleGlobal { path: path.to_path_buf(), name },
        }
    }
}

/// A piece of memory that tensors are views of.
#[derive(Debug)]
pub(super) struct Storage {
    /// Its name in the archive.
    pub(super) key: String,
    pub(super) dtype: Result<Dtype, String>,
    /// Its length, which only the form before zip needs.
    pub(super) elements: usize,
}

/// A tensor as the pickle describes it.
#[derive(Debug, Clone)]
pub(super) struct Pickled {
    pub(super) storage: Rc<Storage>,
    /// In elements.
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// What was saved.
#[derive(Debug)]
pub(super) struct Saved {
    /// In the order of the state dict.
    pub(super) tensors: Vec<(String, Pickled)>,
    /// The dimensions that OpenAI's files carry beside it.
    pub(super) dims: Option<BTreeMap<String, u64>>,
}

/// The tensors of a pickled state dict, or of OpenAI's `{"dims": …, "model_state_dict": …}`.
pub(super) fn saved(machine: &mut Machine) -> Result<Saved, Fault> {
    let root = machine.run()?;
    let items = dict(machine, root)?;
    let entry = |wanted: &str| {
        let is_wanted =
            |(key, _): &&(Id, Id)| matches!(machine.value(*key), Ok(Value::Text(t)) if t == wanted);
        items.iter().find(is_wanted).map(|(_, value)| *value)
    };
    match entry("model_state_dict") {
        Some(state) => {
            let dims = entry("dims").map(|id| dims(machine, id)).transpose()?;
            Ok(Saved { tensors: tensors(machine, dict(machine, state)?)?, dims })
        }
        None => Ok(Saved { tensors: tensors(machine, items)?, dims: None }),
    }
}

fn dict<'a>(machine: &'a Machine, id: Id) -> Result<&'a [(Id, Id)], Fault> {
    match machine.value(id)? {
        Value::Dict(items) => Ok(items),
        _ => Fault::broken("it holds no dictionary of tensors"),
    }
}

fn tensors(machine: &Machine, items: &[(Id, Id)]) -> Result<Vec<(String, Pickled)>, Fault> {
    let mut tensors = Vec::new();
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

fn dims(machine: &Machine, id: Id) -> Result<BTreeMap<String, u64>, Fault> {
    let mut dims = BTreeMap::new();
    for (key, value) in dict(machine, id)? {
        match (machine.value(*key)?, machine.value(*value)?) {
            (Value::Text(name), Value::Int(n)) => match u64::try_from(*n) {
                Ok(n) => drop(dims.insert(name.clone(), n)),
                Err(_) => return Fault::broken(format!("`{name}` is {n}")),
            },
            _ => return Fault::broken("`dims` holds more than names and numbers"),
        }
    }
    Ok(dims)
}
