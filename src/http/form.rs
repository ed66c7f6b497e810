//! Fields of a form body or a query: each at most once.

use url::form_urlencoded;

use crate::refusal::Refusal;

/// Most fields that are read.
const MOST_FIELDS: usize = 64;

/// The fields of a form.
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads `application/x-www-form-urlencoded`.
    ///
    /// # Errors
    /// [`Refusal::BadBody`] if a field comes twice (two readers would take different ones) or there are too
    /// many.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(body) {
            if fields.len() == MOST_FIELDS || fields.iter().any(|(known, _)| *known == name) {
                return Err(Refusal::BadBody);
            }
            fields.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(fields))
    }

    /// The value of a field; empty if it is not there.
    pub fn get(&self, name: &str) -> &str {
        self.find(name).unwrap_or_default()
    }

    /// The value of a field that is there and not empty.
    pub fn find(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }
}
