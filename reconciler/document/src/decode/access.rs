//! Gives serde access to lists, mappings and enums.

use std::slice::Iter;

use serde::de::value::StringDeserializer;
use serde::de::{
    DeserializeSeed, EnumAccess, Error as _, IntoDeserializer as _, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::Decoder;
use super::error::Error;
use super::key::KeyDecoder;
use crate::code::codes;
use crate::node::{Entry, Node};
use crate::spanned;

/// A list's items.
pub(super) struct Items<'a> {
    decoder: Decoder<'a>,
    items: Iter<'a, Node>,
}

impl<'a> Items<'a> {
    pub(super) fn visit<V: Visitor<'a>>(
        decoder: Decoder<'a>,
        items: &'a [Node],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let mut access = Items {
            decoder,
            items: items.iter(),
        };
        let value = visitor
            .visit_seq(&mut access)
            .map_err(|error| error.at(&decoder.node.span))?;
        match access.items.next() {
            None => Ok(value),
            Some(item) => {
                Err(Error::new(codes::INVALID_VALUE, "the list has too many items").at(&item.span))
            }
        }
    }
}

impl<'a> SeqAccess<'a> for &mut Items<'a> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'a>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some(item) = self.items.next() else {
            return Ok(None);
        };
        seed.deserialize(self.decoder.of(item))
            .map(Some)
            .map_err(|error| error.at(&item.span))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// A mapping's entries.
pub(super) struct Entries<'a> {
    decoder: Decoder<'a>,
    rest: Iter<'a, Entry>,
    current: Option<&'a Entry>,
}

impl<'a> Entries<'a> {
    pub(super) fn visit<V: Visitor<'a>>(
        decoder: Decoder<'a>,
        entries: Iter<'a, Entry>,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor
            .visit_map(Entries {
                decoder,
                rest: entries,
                current: None,
            })
            .map_err(|error| error.at(&decoder.node.span))
    }
}

impl<'a> MapAccess<'a> for Entries<'a> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'a>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let skip = self.decoder.skip;
        let next = self
            .rest
            .by_ref()
            .find(|entry| skip.is_empty() || !skip.contains(&entry.key.span));
        self.current = next;
        let Some(Entry { key, .. }) = next else {
            return Ok(None);
        };
        seed.deserialize(KeyDecoder(&key.text))
            .map(Some)
            .map_err(|error| error.at(&key.span).in_entry(&key.span, &key.text))
    }

    fn next_value_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let Some(Entry { key, value }) = self.current else {
            return Err(Error::custom("a value was asked before its key"));
        };
        seed.deserialize(self.decoder.of(value))
            .map_err(|error| error.at(&value.span).in_entry(&key.span, &key.text))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// An enum: a word, or a mapping with one key.
pub(super) struct EnumOf<'a> {
    decoder: Decoder<'a>,
    entry: Option<&'a Entry>,
}

impl<'a> EnumOf<'a> {
    pub(super) fn word(decoder: Decoder<'a>) -> Self {
        Self {
            decoder,
            entry: None,
        }
    }

    pub(super) fn entry(decoder: Decoder<'a>, mut entries: Iter<'a, Entry>) -> Self {
        Self {
            decoder,
            entry: entries.next(),
        }
    }
}

impl<'a> EnumAccess<'a> for EnumOf<'a> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'a>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let (text, span) = match self.entry {
            Some(entry) => (&*entry.key.text, &entry.key.span),
            None => (
                self.decoder.node.as_str().unwrap_or_default(),
                &self.decoder.node.span,
            ),
        };
        let value = seed
            .deserialize(KeyDecoder(text))
            .map_err(|error| error.at(span))?;
        Ok((value, self))
    }
}

impl<'a> EnumOf<'a> {
    fn content(&self) -> Result<Decoder<'a>, Error> {
        match self.entry {
            Some(entry) => Ok(self.decoder.of(&entry.value)),
            None => Err(Error::new(
                codes::WRONG_TYPE,
                "this choice needs a value: write {choice: value}",
            )),
        }
    }
}

impl<'a> VariantAccess<'a> for EnumOf<'a> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.entry {
            None => Ok(()),
            Some(entry) if entry.value.is_null() => Ok(()),
            Some(entry) => Err(
                Error::new(codes::WRONG_TYPE, "this choice can't have a value")
                    .at(&entry.value.span),
            ),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'a>>(self, seed: T) -> Result<T::Value, Error> {
        let content = self.content()?;
        seed.deserialize(content)
            .map_err(|error| error.at(&content.node.span))
    }

    fn tuple_variant<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        serde::Deserializer::deserialize_seq(self.content()?, visitor)
    }

    fn struct_variant<V: Visitor<'a>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        serde::Deserializer::deserialize_map(self.content()?, visitor)
    }
}

/// Gives serde the two parts of a [`Spanned`](crate::Spanned): the value and its position.
pub(super) struct SpannedParts<'a> {
    decoder: Decoder<'a>,
    part: u8,
}

impl<'a> SpannedParts<'a> {
    pub(super) fn new(decoder: Decoder<'a>) -> Self {
        Self { decoder, part: 0 }
    }
}

impl<'a> SeqAccess<'a> for SpannedParts<'a> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'a>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        self.part += 1;
        match self.part {
            1 => seed.deserialize(self.decoder).map(Some),
            2 => {
                let text: StringDeserializer<Error> =
                    spanned::place_to_text(&self.decoder.node.span).into_deserializer();
                seed.deserialize(text).map(Some)
            }
            _ => Ok(None),
        }
    }
}
