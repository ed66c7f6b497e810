//! How our words are kept in columns: ids and token hashes as text, times as ISO text on SQLite
//! and as `timestamptz` on PostgreSQL.

use std::error::Error;

use sqlx::encode::IsNull;
use sqlx::{Database, Decode, Encode, Postgres, Sqlite, Type};
use time::OffsetDateTime;

use crate::id::{PendingId, RowId, SessionId, UserId};
use crate::secret::TokenHash;
use crate::time::Now;

type Buffer<'a, D> = &'a mut <D as Database>::ArgumentBuffer;
type Value<'r, D> = <D as Database>::ValueRef<'r>;
type Problem = Box<dyn Error + Send + Sync>;

/// Keeps a type as text: how it is written, how it is read, and what to say of a text that is none.
macro_rules! kept_as_text {
    ($type:ty, $database:ty, $write:expr, $read:expr, $problem:literal) => {
        impl Type<$database> for $type {
            fn type_info() -> <$database as Database>::TypeInfo {
                <str as Type<$database>>::type_info()
            }

            fn compatible(stored: &<$database as Database>::TypeInfo) -> bool {
                <str as Type<$database>>::compatible(stored)
            }
        }

        impl Encode<'_, $database> for $type {
            fn encode_by_ref(&self, buffer: Buffer<'_, $database>) -> Result<IsNull, Problem> {
                let write: fn(&$type) -> String = $write;
                <String as Encode<'_, $database>>::encode(write(self), buffer)
            }
        }

        impl<'r> Decode<'r, $database> for $type {
            fn decode(value: Value<'r, $database>) -> Result<Self, Problem> {
                let text = <&str as Decode<'r, $database>>::decode(value)?;
                let read: fn(&str) -> Option<$type> = $read;
                read(text).ok_or_else(|| $problem.into())
            }
        }
    };
}

macro_rules! id {
    ($type:ty) => {
        kept_as_text!($type, Sqlite, |id| id.as_str().to_owned(), <$type>::parse, "not an id");
        kept_as_text!($type, Postgres, |id| id.as_str().to_owned(), <$type>::parse, "not an id");
    };
}

id!(UserId);
id!(SessionId);
id!(RowId);
id!(PendingId);

kept_as_text!(TokenHash, Sqlite, |hash| hash.to_column(), TokenHash::from_column, "not a token hash");
kept_as_text!(TokenHash, Postgres, |hash| hash.to_column(), TokenHash::from_column, "not a token hash");

kept_as_text!(Now, Sqlite, |at| at.iso(), Now::from_iso, "not a time of the form YYYY-MM-DDTHH:MM:SS.mmmZ");

impl Type<Postgres> for Now {
    fn type_info() -> <Postgres as Database>::TypeInfo {
        <OffsetDateTime as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Now {
    fn encode_by_ref(&self, buffer: Buffer<'_, Postgres>) -> Result<IsNull, Problem> {
        <OffsetDateTime as Encode<'_, Postgres>>::encode(self.date_time(), buffer)
    }
}

impl<'r> Decode<'r, Postgres> for Now {
    fn decode(value: Value<'r, Postgres>) -> Result<Self, Problem> {
        <OffsetDateTime as Decode<'r, Postgres>>::decode(value).map(Self::from_date_time)
    }
}
