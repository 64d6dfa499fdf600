//! The stack machine that a pickle is a program for.
//!
//! Python's machine calls any function that the program names. Ours knows the opcodes that `torch.save`
//! writes and the handful of names that a state dict needs, builds plain data, and refuses every other
//! name where it is mentioned. Values live in one arena and refer to each other by index, so that no
//! nesting and no cycle can exhaust the stack.

use std::collections::HashMap;
use std::rc::Rc;

use super::Dtype;
use super::pickle::{Fault, Pickled, Storage};

/// The state dict of whisper-large makes about 20,000 values. With the two limits below, this also
/// bounds the memory that a hostile pickle can ask for.
const MAX_VALUES: usize = 300_000;
/// A Whisper's tensors have three dimensions at most.
const MAX_DIMENSIONS: usize = 8;
/// Names of tensors and storages are far shorter.
const MAX_TEXT_BYTES: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(usize);

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Result<Dtype, String>),
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Nothing,
    Bool(bool),
    /// Wide enough for the magic number of the form before zip, which has ten bytes.
    Int(i128),
    Text(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    /// Counted, so that a pickle can't make many copies of its name out of few bytes.
    Storage(Rc<Storage>),
    Tensor(Pickled),
}

fn broken<T>(fact: impl Into<String>) -> Result<T, Fault> {
    Fault::broken(fact)
}

pub(super) struct Machine<'a> {
    rest: &'a [u8],
    arena: Vec<Value>,
    stack: Vec<Id>,
    /// Stack heights at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, arena: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() }
    }

    /// Runs to the end: the value on top of the stack.
    pub(super) fn run(&mut self) -> Result<Id, Fault> {
        loop {
            let [op] = self.take_array::<1>()?;
            match op {
                // PROTO, FRAME
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?),
                b'}' => self.push(Value::Dict(Vec::new()))?,
                b']' => self.push(Value::List(Vec::new()))?,
                b')' => self.push(Value::Tuple(Vec::new()))?,
                b'N' => self.push(Value::Nothing)?,
                // BINFLOAT: a learning rate or the like, beside the weights.
                b'G' => drop((self.take(8)?, self.push(Value::Nothing)?)),
                0x88 | 0x89 => self.push(Value::Bool(op == 0x88))?,
                b'(' => self.marks.push(self.stack.len()),
                b'J' => {
                    let n = i32::from_le_bytes(self.take_array()?);
                    self.push(Value::Int(n.into()))?;
                }
                b'K' => {
                    let [n] = self.take_array()?;
                    self.push(Value::Int(n.into()))?;
                }
                b'M' => {
                    let n = u16::from_le_bytes(self.take_array()?);
                    self.push(Value::Int(n.into()))?;
                }
                0x8a => self.long()?,
                b'X' => {
                    let n = u32::from_le_bytes(self.take_array()?);
                    self.text(n as usize)?;
                }
                0x8c => {
                    let [n] = self.take_array()?;
                    self.text(n.into())?;
                }
                // BINPUT, LONG_BINPUT, MEMOIZE
                b'q' => {
                    let [n] = self.take_array()?;
                    self.memoize(n.into())?;
                }
                b'r' => {
                    let n = u32::from_le_bytes(self.take_array()?);
                    self.memoize(n)?;
                }
                0x94 => self.memoize(self.memo.len() as u32)?,
                // BINGET, LONG_BINGET
                b'h' => {
                    let [n] = self.take_array()?;
                    self.recall(n.into())?;
                }
                b'j' => {
                    let n = u32::from_le_bytes(self.take_array()?);
                    self.recall(n)?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.global(module, name)?;
                }
                // STACK_GLOBAL
                0x93 => {
                    let (name, module) = (self.pop_text()?, self.pop_text()?);
                    self.global(&module, &name)?;
                }
                b't' => {
                    let items = self.pop_mark()?;
                    self.push(Value::Tuple(items))?;
                }
                0x85..=0x87 => {
                    let n = usize::from(op - 0x84);
                    let start = self.stack.len().checked_sub(n).filter(|s| *s >= self.floor());
                    let Some(start) = start else { return broken("the stack is empty") };
                    let items = self.stack.split_off(start);
                    self.push(Value::Tuple(items))?;
                }
                b'Q' => self.persistent()?,
                b'R' => self.reduce()?,
                // BUILD: an OrderedDict's own attributes (`_metadata`), which nothing here needs.
                b'b' => drop(self.pop()?),
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set_items(&[key, value])?;
                }
                b'u' => {
                    let items = self.pop_mark()?;
                    self.set_items(&items)?;
                }
                b'a' => {
                    let item = self.pop()?;
                    self.append(&[item])?;
                }
                b'e' => {
                    let items = self.pop_mark()?;
                    self.append(&items)?;
                }
                b'.' => return self.pop(),
                other => return broken(format!("opcode 0x{other:02x}, which no state dict needs")),
            }
        }
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Fault> {
        match self.rest.split_at_checked(n) {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(head)
            }
            None => broken("it ends early"),
        }
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        match self.rest.split_first_chunk::<N>() {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(*head)
            }
            None => broken("it ends early"),
        }
    }

    fn line(&mut self) -> Result<&'a str, Fault> {
        let Some(n) = self.rest.iter().position(|b| *b == b'\n') else { return broken("it ends early") };
        if n > MAX_TEXT_BYTES {
            return broken(format!("a name of {n} bytes"));
        }
        let line = self.take(n)?;
        self.take(1)?;
        str::from_utf8(line).or_else(|_| broken("a name is not UTF-8"))
    }

    fn push(&mut self, value: Value) -> Result<(), Fault> {
        if self.arena.len() >= MAX_VALUES {
            return broken(format!("over {MAX_VALUES} values"));
        }
        self.stack.push(Id(self.arena.len()));
        self.arena.push(value);
        Ok(())
    }

    /// The stack may not be popped below the last open mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Id, Fault> {
        match self.stack.pop() {
            Some(id) if self.stack.len() >= self.floor() => Ok(id),
            _ => broken("the stack is empty"),
        }
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, Fault> {
        match self.marks.pop() {
            Some(height) if height <= self.stack.len() => Ok(self.stack.split_off(height)),
            _ => broken("no mark on the stack"),
        }
    }

    fn pop_text(&mut self) -> Result<String, Fault> {
        let id = self.pop()?;
        match self.value(id)? {
            Value::Text(text) => Ok(text.clone()),
            _ => broken("a name is not text"),
        }
    }

    pub(super) fn value(&self, id: Id) -> Result<&Value, Fault> {
        self.arena.get(id.0).map_or_else(|| broken("a value is missing"), Ok)
    }

    fn text(&mut self, n: usize) -> Result<(), Fault> {
        if n > MAX_TEXT_BYTES {
            return broken(format!("a text of {n} bytes"));
        }
        match str::from_utf8(self.take(n)?) {
            Ok(text) => self.push(Value::Text(text.into())),
            Err(_) => broken("a text is not UTF-8"),
        }
    }

    /// LONG1: a little-endian integer of any length; nothing here needs over sixteen bytes.
    fn long(&mut self) -> Result<(), Fault> {
        let [n] = self.take_array()?;
        let bytes = self.take(n.into())?;
        let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
        let mut whole = [fill; 16];
        match whole.get_mut(..bytes.len()) {
            Some(low) => low.copy_from_slice(bytes),
            None => return broken("an integer of over 128 bits"),
        }
        self.push(Value::Int(i128::from_le_bytes(whole)))
    }

    fn memoize(&mut self, key: u32) -> Result<(), Fault> {
        match self.stack.last() {
            Some(id) => {
                self.memo.insert(key, *id);
                Ok(())
            }
            None => broken("the stack is empty"),
        }
    }

    fn recall(&mut self, key: u32) -> Result<(), Fault> {
        match self.memo.get(&key) {
            Some(id) => {
                self.stack.push(*id);
                Ok(())
            }
            None => broken(format!("nothing was memoized as {key}")),
        }
    }

    /// The allow-list.
    fn global(&mut self, module: &str, name: &str) -> Result<(), Fault> {
        let global = match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
            ("torch", "FloatStorage") => Global::Storage(Ok(Dtype::F32)),
            ("torch", "HalfStorage") => Global::Storage(Ok(Dtype::F16)),
            ("torch", "BFloat16Storage") => Global::Storage(Ok(Dtype::Bf16)),
            ("torch", "DoubleStorage") => Global::Storage(Ok(Dtype::F64)),
            // Types without a meaning for weights: the tensor is refused by its name, if it is needed.
            ("torch", "LongStorage" | "IntStorage" | "ShortStorage" | "CharStorage") => {
                Global::Storage(Err(name.trim_end_matches("Storage").to_lowercase()))
            }
            ("torch", "ByteStorage" | "BoolStorage") => {
                Global::Storage(Err(name.trim_end_matches("Storage").to_lowercase()))
            }
            _ => return Err(Fault::Global(format!("{module}.{name}"))),
        };
        self.push(Value::Global(global))
    }

    /// BINPERSID: `('storage', type, key, device, number of elements)`, and in the form before zip
    /// `None` behind it (a view, before PyTorch 0.4).
    fn persistent(&mut self) -> Result<(), Fault> {
        let id = self.pop()?;
        if let Value::Tuple(items) = self.value(id)?
            && let [kind, ty, key, _, elements, view @ ..] = items.as_slice()
            && let (Value::Text(kind), Value::Global(Global::Storage(dtype)), Value::Text(key)) =
                (self.value(*kind)?, self.value(*ty)?, self.value(*key)?)
            && kind == "storage"
        {
            for view in view {
                if !matches!(self.value(*view)?, Value::Nothing) {
                    return broken("a storage that is a view of another");
                }
            }
            let (key, dtype, elements) = (key.clone(), dtype.clone(), self.size(*elements)?);
            return self.push(Value::Storage(Rc::new(Storage { key, dtype, elements })));
        }
        broken("a persistent id that is not a storage")
    }

    /// REDUCE: calls one of the names on the list, that is, builds what it would build.
    fn reduce(&mut self) -> Result<(), Fault> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let (Value::Global(callee), Value::Tuple(arguments)) = (self.value(callee)?, self.value(arguments)?)
        else {
            return broken("a call of what is not a function");
        };
        let result = match (callee, arguments.as_slice()) {
            (Global::OrderedDict, []) => Value::Dict(Vec::new()),
            (Global::RebuildParameter, [data, ..]) => match self.value(*data)? {
                Value::Tensor(tensor) => Value::Tensor(tensor.clone()),
                _ => return broken("a parameter without a tensor"),
            },
            (Global::RebuildTensor, [storage, offset, shape, strides, ..]) => {
                let Value::Storage(storage) = self.value(*storage)? else {
                    return broken("a tensor without a storage");
                };
                let (shape, strides) = (self.sizes(*shape)?, self.sizes(*strides)?);
                if shape.len() != strides.len() {
                    return broken("a tensor whose shape and strides differ in number");
                }
                let storage = Rc::clone(storage);
                Value::Tensor(Pickled { storage, offset: self.size(*offset)?, shape, strides })
            }
            _ => return broken("a call with the wrong arguments"),
        };
        self.push(result)
    }

    fn size(&self, id: Id) -> Result<usize, Fault> {
        match self.value(id)? {
            Value::Int(n) => usize::try_from(*n).or_else(|_| broken(format!("{n} as a size"))),
            _ => broken("a size that is not a number"),
        }
    }

    fn sizes(&self, id: Id) -> Result<Vec<usize>, Fault> {
        match self.value(id)? {
            Value::Tuple(items) if items.len() <= MAX_DIMENSIONS => {
                items.iter().map(|i| self.size(*i)).collect()
            }
            _ => broken("a shape that is not a tuple of sizes"),
        }
    }

    /// Adds pairs to the dictionary on top of the stack.
    fn set_items(&mut self, items: &[Id]) -> Result<(), Fault> {
        let top = self.stack.last().copied();
        let Some(Value::Dict(dict)) = top.and_then(|id| self.arena.get_mut(id.0)) else {
            return broken("items without a dictionary");
        };
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return broken("a key without a value");
        }
        dict.extend(pairs.iter().map(|[key, value]| (*key, *value)));
        Ok(())
    }

    /// Adds to the list on top of the stack.
    fn append(&mut self, items: &[Id]) -> Result<(), Fault> {
        let top = self.stack.last().copied();
        let Some(Value::List(list)) = top.and_then(|id| self.arena.get_mut(id.0)) else {
            return broken("items without a list");
        };
        list.extend_from_slice(items);
        Ok(())
    }

    /// What is behind the end of the pickle.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}
