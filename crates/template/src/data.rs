//! What a template looks at: a JSON document, and what JSON does not say about it.

use serde_json::Value as Json;

/// What a field is that JSON leaves out or has as `null`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// A list: prints `[]`.
    List,
    /// A map from any text: prints `map[]`, and lacks keys without an error.
    Map,
    /// A pointer: prints `<nil>`.
    Pointer,
    /// A text: prints nothing.
    Text,
    /// A number: prints `0`.
    Number,
    /// A truth: prints `false`.
    Bool,
}

/// A document for templates.
#[derive(Debug, Clone)]
pub struct Data {
    pub(crate) root: Value,
    pub(crate) is_row: bool,
}

impl Data {
    /// A document of nested types, as `inspect` shows.
    pub fn document(document: &Json) -> Self {
        Self { root: Value::of(document), is_row: false }
    }

    /// A row of a listing: its fields are texts, and `{{json .}}` escapes them for HTML, as Docker's does.
    pub fn row(row: &Json) -> Self {
        Self { root: Value::of(row), is_row: true }
    }

    /// Says what the field at a path is: `Config.Env`. It stays as it is where it has a value, but for a map: that is one
    /// from now on, and not a type with fields.
    #[must_use]
    pub fn absent(mut self, path: &str, absent: Absent) -> Self {
        let names: Vec<&str> = path.split('.').collect();
        if let Some((name, above)) = names.split_last()
            && let Some(Value::Object(object)) = self.root.descend(above)
        {
            object.declare(name, absent);
        }
        self
    }

    /// Adds a map that is reached by an argument, `{{.Label "name"}}`, and is no part of `{{json .}}`.
    #[must_use]
    pub fn method(mut self, name: &str, map: &Json) -> Self {
        if let (Value::Object(root), Value::Object(mut map)) = (&mut self.root, Value::of(map)) {
            map.kind = ObjectKind::Method;
            root.fields.push(Field {
                name: name.to_owned(),
                value: Value::Object(map),
                shown: false,
            });
        }
        self
    }
}

/// A value of a template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Nothing of no type.
    Null,
    /// A pointer to nothing.
    Nil,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    /// An absent list.
    NoList,
    Object(Object),
}

/// Something with fields or keys.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Object {
    pub(crate) kind: ObjectKind,
    /// In the order of the document.
    pub(crate) fields: Vec<Field>,
}

/// What an object is in Go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    /// Its fields are known, and a further one is a mistake.
    Type,
    /// A map.
    Map,
    /// An absent map.
    NoMap,
    /// A map that is reached by an argument.
    Method,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) value: Value,
    /// Whether JSON has it.
    pub(crate) shown: bool,
}

impl Value {
    pub(crate) fn of(json: &Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match number.as_i128() {
                Some(integer) => Self::Int(integer),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::Text(text.clone()),
            Json::Array(values) => Self::List(values.iter().map(Self::of).collect()),
            Json::Object(members) => {
                let field = |(name, value)| Field {
                    name: String::clone(name),
                    value: Self::of(value),
                    shown: true,
                };
                let fields = members.iter().map(field).collect();
                Self::Object(Object { kind: ObjectKind::Type, fields })
            }
        }
    }

    /// Returns the JSON of a value, without what JSON leaves out.
    pub(crate) fn to_json(&self) -> Json {
        match self {
            Self::Null | Self::Nil | Self::NoList => Json::Null,
            Self::Bool(value) => Json::from(*value),
            Self::Int(value) => i64::try_from(*value)
                .map_or_else(|_| Json::from(u64::try_from(*value).ok()), Json::from),
            Self::Float(value) => Json::from(*value),
            Self::Text(text) => Json::from(text.as_str()),
            Self::List(values) => values.iter().map(Self::to_json).collect(),
            Self::Object(object) if object.kind == ObjectKind::NoMap => Json::Null,
            Self::Object(object) => {
                let shown = object.fields.iter().filter(|field| field.shown);
                Json::Object(shown.map(|f| (f.name.clone(), f.value.to_json())).collect())
            }
        }
    }

    fn descend(&mut self, path: &[&str]) -> Option<&mut Self> {
        let Some((name, rest)) = path.split_first() else { return Some(self) };
        let Self::Object(object) = self else { return None };
        object.fields.iter_mut().find(|field| field.name == *name)?.value.descend(rest)
    }

    /// Whether it counts as true: what is not empty.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Null | Self::Nil | Self::NoList => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(values) => !values.is_empty(),
            // A type is true whatever its fields are.
            Self::Object(object) => object.kind == ObjectKind::Type || !object.fields.is_empty(),
        }
    }

    /// Returns what Go calls its type.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Null | Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::List(_) | Self::NoList => "[]interface {}",
            Self::Object(_) => "map[string]interface {}",
        }
    }
}

impl Object {
    /// Returns the value of a field or a key.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|field| field.name == name).map(|field| &field.value)
    }

    /// Returns the fields in the order of their names, in which Go goes through a map.
    pub(crate) fn sorted(&self) -> Vec<&Field> {
        let mut fields: Vec<&Field> = self.fields.iter().collect();
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        fields
    }

    /// Returns what a map has for a key that it lacks: the empty value of the type that its other values have.
    pub(crate) fn lacking(&self) -> Value {
        match self.fields.first().map(|field| &field.value) {
            None | Some(Value::Text(_)) => Value::Text(String::new()),
            Some(Value::List(_) | Value::NoList) => Value::NoList,
            Some(Value::Bool(_)) => Value::Bool(false),
            Some(Value::Int(_)) => Value::Int(0),
            Some(Value::Float(_)) => Value::Float(0.0),
            Some(Value::Null | Value::Nil | Value::Object(_)) => Value::Nil,
        }
    }

    fn declare(&mut self, name: &str, absent: Absent) {
        let empty = match absent {
            Absent::List => Value::NoList,
            Absent::Map => Value::Object(Self { kind: ObjectKind::NoMap, fields: Vec::new() }),
            Absent::Pointer => Value::Nil,
            Absent::Text => Value::Text(String::new()),
            Absent::Number => Value::Int(0),
            Absent::Bool => Value::Bool(false),
        };
        match self.fields.iter_mut().find(|field| field.name == name) {
            None => self.fields.push(Field { name: name.to_owned(), value: empty, shown: false }),
            Some(field) if field.value == Value::Null => field.value = empty,
            Some(Field { value: Value::Object(map), .. }) if absent == Absent::Map => {
                map.kind = ObjectKind::Map;
            }
            Some(_) => {}
        }
    }
}
