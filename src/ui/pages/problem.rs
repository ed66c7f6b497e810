//! What the visitor got wrong in a form, and at which of its fields that is said.

use crate::refusal::Refusal;

/// What the visitor got wrong in a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No name.
    NameMissing,
    /// A name longer than is kept.
    NameTooLong,
    /// No address.
    EmailMissing,
    /// No password.
    PasswordMissing,
    /// No code.
    CodeMissing,
    /// What the JSON answer would say too.
    Refused(Refusal),
}

/// A field of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Name,
    Email,
    Password,
    Code,
}

impl Field {
    /// Whether it has to change.
    pub(super) fn marked(self, problems: &[Problem]) -> bool {
        problems.iter().any(|problem| problem.marks(self))
    }

    /// Name and id of the input.
    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Email => "email",
            Self::Password => "password",
            Self::Code => "code",
        }
    }
}

impl Problem {
    /// The field that a message belongs to; `None` if it belongs to the form.
    pub(super) fn field(self) -> Option<Field> {
        match self {
            Self::NameMissing | Self::NameTooLong => Some(Field::Name),
            Self::EmailMissing | Self::Refused(Refusal::InvalidEmail) => Some(Field::Email),
            Self::PasswordMissing
            | Self::Refused(
                Refusal::PasswordTooShort
                | Refusal::PasswordTooLong
                | Refusal::PasswordTooCommon
                | Refusal::InvalidPassword
                | Refusal::NoPassword,
            ) => Some(Field::Password),
            Self::CodeMissing
            | Self::Refused(Refusal::CodeWrong | Refusal::CodeExpired | Refusal::CodeSpent) => {
                Some(Field::Code)
            }
            Self::Refused(_) => None,
        }
    }

    /// Whether `field` has to change. Credentials are wrong together: which of them is not said.
    pub(super) fn marks(self, field: Field) -> bool {
        match self {
            Self::Refused(Refusal::InvalidCredentials) => matches!(field, Field::Email | Field::Password),
            _ => self.field() == Some(field),
        }
    }

    /// Where the summary leads to.
    pub(super) fn target(self) -> Option<Field> {
        [Field::Name, Field::Email, Field::Password, Field::Code].into_iter().find(|field| self.marks(*field))
    }
}
