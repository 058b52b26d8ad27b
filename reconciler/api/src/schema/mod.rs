//! JSON Schemas: of types that are text in manifests, of resource specs (the rest is derived, see
//! `Kind::schema`), and of whole objects for editors.

mod choice;
mod expression;
mod manifest;
mod resources;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::address::AnyAddress;
use crate::digest::Digest;
use crate::kind::{EndpointOn, Port, Protocol};
use crate::name::{Address, HostName};
use crate::period::Period;
use crate::resource::{Mode, Ping, Principal, Subnet, Zone};
use crate::size::Size;

pub use manifest::{object, spec};
pub(crate) use resources::blocks;

/// Creates a generator for draft-07, which editors know, with all types inlined but recursive ones.
pub fn generator() -> SchemaGenerator {
    let settings = schemars::generate::SchemaSettings::draft07();
    settings
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
}

/// Implements the schema of a text type: a string with a pattern and a title.
macro_rules! texts {
    ($($type:ty, $name:literal, $pattern:literal, $about:literal;)*) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": $pattern, "title": $about})
            }
        }
    )*};
}

texts! {
    Mode, "Mode", "^[0-7]{3,4}$", "octal mode in quotes";
    Principal, "Principal", "^([A-Za-z_][A-Za-z0-9_.$-]{0,31}|[0-9]{1,10})$", "name, or number in quotes";
    Address, "Address", "^[a-z][A-Za-z]*:.+$", "address";
    AnyAddress, "Address", "^[a-z][A-Za-z]*:.+$", "address";
    HostName, "HostName", "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "name of a host";
    Period, "Period", "^[0-9]+(ms|s|m|h|d)$", "length of time such as 30s";
    Size, "Size", "^[0-9]+(KiB|MiB|GiB|TiB)$", "size such as 2GiB";
    Zone, "Zone", "^(interface:)?[A-Za-z0-9._@-]+$", "network or interface:NAME";
    Subnet, "Subnet", "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$", "address or subnet";
    Digest, "Digest", "^[0-9a-f]{64}$", "SHA-256";
}

impl JsonSchema for Port {
    fn schema_name() -> Cow<'static, str> {
        "Port".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["integer", "string"], "title": "port or range"})
    }
}

impl JsonSchema for EndpointOn {
    fn schema_name() -> Cow<'static, str> {
        "EndpointOn".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let zone = generator.subschema_for::<Zone>();
        json_schema!({
            "title": "list of networks, or `\"*\"`",
            "anyOf": [{"type": "array", "items": zone}, {"const": "*"}],
        })
    }
}

impl JsonSchema for Protocol {
    fn schema_name() -> Cow<'static, str> {
        "Protocol".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"enum": ["tcp", "udp"]})
    }
}

impl JsonSchema for Ping {
    fn schema_name() -> Cow<'static, str> {
        "Ping".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "boolean"})
    }
}
