//! Finding the few values of a JSON object that count, and nothing else of it.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::entry::{Field, FieldError};
use crate::limits;

/// What was found at each place, by the number that it was given.
pub(super) type Found<'a> = [Option<&'a RawValue>; limits::FORMAT_SOURCES_MAX];

/// Places of values, as a tree of the names that lead to them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tree {
    children: Vec<(Box<str>, Tree)>,
    /// The number of the place that ends here.
    place: Option<usize>,
}

impl Tree {
    /// Adds a place: a JSON pointer (RFC 6901), or a plain name of the top level.
    ///
    /// # Errors
    /// If it is none, or was added before.
    pub(super) fn insert(&mut self, place: &str, number: usize) -> Result<(), String> {
        if place.is_empty() {
            return Err("has an empty name".into());
        }
        let mut node = self;
        let plain = [place];
        let steps: Box<dyn Iterator<Item = &str>> = match place.strip_prefix('/') {
            Some(pointer) => Box::new(pointer.split('/')),
            None => Box::new(plain.into_iter()),
        };
        for step in steps {
            let step = match place.starts_with('/') {
                true => step.replace("~1", "/").replace("~0", "~"),
                false => step.to_owned(),
            };
            let known = node.children.iter().position(|(name, _)| **name == *step);
            let at = known.unwrap_or_else(|| {
                node.children.push((step.into(), Tree::default()));
                node.children.len() - 1
            });
            node = &mut node.children[at].1;
        }
        match node.place.replace(number) {
            None => Ok(()),
            Some(_) => Err(format!("has {place:?} twice")),
        }
    }

    /// What stands at each place of an object.
    ///
    /// # Errors
    /// If the text is no JSON object, or has one of the places twice.
    pub(super) fn find<'a>(&self, object: &'a str) -> Result<Found<'a>, FieldError> {
        if !object.trim_start().starts_with('{') {
            return Err(FieldError::new(Field::Entry, "must be a JSON object"));
        }
        let mut found = Found::default();
        self.walk(object, &mut found).map_err(|error| {
            let reason = match error.classify() {
                serde_json::error::Category::Data => without_place(&error),
                _ => format!("is not a JSON object: {error}"),
            };
            FieldError::new(Field::Entry, reason)
        })?;
        Ok(found)
    }

    fn walk<'a>(&self, text: &'a str, found: &mut Found<'a>) -> Result<(), serde_json::Error> {
        let mut decoder = serde_json::Deserializer::from_str(text);
        Walk { tree: self, found }.deserialize(&mut decoder)?;
        decoder.end()
    }

    fn child(&self, name: &str) -> Option<&Tree> {
        self.children.iter().find(|(child, _)| **child == *name).map(|(_, tree)| tree)
    }

    /// Takes a value that stands where this tree hangs.
    fn take<'a, E: Error>(
        &self,
        name: &str,
        value: &'a RawValue,
        found: &mut Found<'a>,
    ) -> Result<(), E> {
        if let Some(place) = self.place
            && found[place].replace(value).is_some()
        {
            return Err(E::custom(format!("duplicate field `{name}`")));
        }
        match value.get().as_bytes().first() {
            Some(b'{' | b'[') if !self.children.is_empty() => {
                self.walk(value.get(), found).map_err(E::custom)
            }
            _ => Ok(()),
        }
    }
}

fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line").next().unwrap_or_default().to_owned()
}

/// Goes through an object, or an array below the top, for what a tree wants of it.
struct Walk<'t, 'f, 'a> {
    tree: &'t Tree,
    found: &'f mut Found<'a>,
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            match self.tree.child(&name) {
                Some(child) => child.take(&name, map.next_value()?, self.found)?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        let mut at = 0_usize;
        while let Some(value) = array.next_element()? {
            let name = at.to_string();
            if let Some(child) = self.tree.child(&name) {
                child.take(&name, value, self.found)?;
            }
            at += 1;
        }
        Ok(())
    }
}
