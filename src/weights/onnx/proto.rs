//! The messages of an ONNX file, as far as a network of this crate needs them.
//!
//! Written by hand, so that no build needs a compiler of protocol buffers. Names and field numbers are those of
//! `onnx/onnx.proto` of IR version 8 (<https://github.com/onnx/onnx/blob/v1.12.0/onnx/onnx.proto>). It uses protocol
//! buffers 2, in which repeated numbers are not packed.

use prost::Message;

use crate::weights::HostTensor;

/// The file.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ModelProto {
    #[prost(int64, tag = "1")]
    pub(super) ir_version: i64,
    #[prost(string, tag = "2")]
    pub(super) producer_name: String,
    #[prost(string, tag = "3")]
    pub(super) producer_version: String,
    #[prost(message, optional, tag = "7")]
    pub(super) graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    pub(super) opset_import: Vec<OperatorSetIdProto>,
    #[prost(message, repeated, tag = "14")]
    pub(super) metadata_props: Vec<StringStringEntryProto>,
}

/// Which version of the operators the nodes mean. The empty domain is ONNX's own.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OperatorSetIdProto {
    #[prost(string, tag = "1")]
    pub(super) domain: String,
    #[prost(int64, tag = "2")]
    pub(super) version: i64,
}

/// A line of metadata.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StringStringEntryProto {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

/// The network: nodes in an order in which every value is written before it is read.
#[derive(Clone, PartialEq, Message)]
pub(super) struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    pub(super) node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    pub(super) input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    pub(super) output: Vec<ValueInfoProto>,
}

/// An operation. It refers to values by name.
#[derive(Clone, PartialEq, Message)]
pub(super) struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    pub(super) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) output: Vec<String>,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(string, tag = "4")]
    pub(super) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) attribute: Vec<AttributeProto>,
}

/// A setting of an operation; `type` says which of the fields holds it: 1 `f`, 2 `i`, 3 `s`, 7 `ints`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct AttributeProto {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(float, optional, tag = "2")]
    pub(super) f: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    pub(super) i: Option<i64>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(super) s: Option<Vec<u8>>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub(super) ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    pub(super) r#type: i32,
}

impl AttributeProto {
    pub(super) fn float(name: &str, value: f32) -> Self {
        Self { name: name.into(), f: Some(value), r#type: 1, ..Self::default() }
    }

    pub(super) fn int(name: &str, value: usize) -> Self {
        Self { name: name.into(), i: Some(value as i64), r#type: 2, ..Self::default() }
    }

    pub(super) fn text(name: &str, value: &str) -> Self {
        Self { name: name.into(), s: Some(value.into()), r#type: 3, ..Self::default() }
    }

    pub(super) fn ints(name: &str, values: &[usize]) -> Self {
        Self { name: name.into(), ints: integers(values), r#type: 7, ..Self::default() }
    }
}

/// The type of an output's elements.
#[derive(Clone, Copy)]
pub(super) enum Elements {
    F32 = 1,
    I64 = 7,
}

/// Weights.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorProto {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub(super) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(super) data_type: i32,
    #[prost(string, tag = "8")]
    pub(super) name: String,
    /// The elements, row-major, little-endian.
    #[prost(bytes = "vec", tag = "9")]
    pub(super) raw_data: Vec<u8>,
}

// Elements are written as they lie in memory.
const _: () = assert!(cfg!(target_endian = "little"));

impl TensorProto {
    pub(super) fn floats(name: &str, tensor: &HostTensor) -> Self {
        let raw_data = bytemuck::cast_slice(&tensor.data).to_vec();
        Self { dims: integers(&tensor.shape), data_type: Elements::F32 as i32, name: name.into(), raw_data }
    }
}

/// An input or output of the network.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ValueInfoProto {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, optional, tag = "2")]
    pub(super) r#type: Option<TypeProto>,
    #[prost(string, tag = "3")]
    pub(super) doc_string: String,
}

impl ValueInfoProto {
    /// A batch of f32 tensors of any size: its first dimension is named N.
    pub(super) fn batch(name: &str, item: &[usize], doc: &str) -> Self {
        Self::new(name, Elements::F32, Some("N"), item, doc)
    }

    /// A tensor whose first dimension is free and has this name, if there is one.
    pub(super) fn new(name: &str, elements: Elements, free: Option<&str>, item: &[usize], doc: &str) -> Self {
        let free = free.map(|name| DimensionProto { dim_value: None, dim_param: Some(name.into()) });
        let item = integers(item).into_iter().map(|n| DimensionProto { dim_value: Some(n), dim_param: None });
        let shape = TensorShapeProto { dim: free.into_iter().chain(item).collect() };
        let tensor = TensorTypeProto { elem_type: elements as i32, shape: Some(shape) };
        Self { name: name.into(), r#type: Some(TypeProto { tensor_type: Some(tensor) }), doc_string: doc.into() }
    }
}

/// The type of a value; here always a tensor.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TypeProto {
    #[prost(message, optional, tag = "1")]
    pub(super) tensor_type: Option<TensorTypeProto>,
}

/// `TypeProto.Tensor`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorTypeProto {
    #[prost(int32, tag = "1")]
    pub(super) elem_type: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) shape: Option<TensorShapeProto>,
}

/// Dimensions, outermost first.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorShapeProto {
    #[prost(message, repeated, tag = "1")]
    pub(super) dim: Vec<DimensionProto>,
}

/// `TensorShapeProto.Dimension`: a number, or a name if it is free.
#[derive(Clone, PartialEq, Message)]
pub(super) struct DimensionProto {
    #[prost(int64, optional, tag = "1")]
    pub(super) dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub(super) dim_param: Option<String>,
}

fn integers(values: &[usize]) -> Vec<i64> {
    values.iter().map(|&v| v as i64).collect()
}
