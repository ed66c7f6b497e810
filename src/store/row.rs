//! A row of either database; a value that cannot be read is a fault that names table, column and row.

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Postgres, Row as _, Sqlite, Type};

use crate::error::Fault;
use crate::store::Db;

/// A row whose columns are named `table.column`.
pub(super) struct Row(Db<SqliteRow, PgRow>);

impl From<SqliteRow> for Row {
    fn from(row: SqliteRow) -> Self {
        Self(Db::Sqlite(row))
    }
}

impl From<PgRow> for Row {
    fn from(row: PgRow) -> Self {
        Self(Db::Postgres(row))
    }
}

impl Row {
    /// The value of `column` (`user.email`); `id` is the id of the row it belongs to.
    pub(super) fn get<T>(&self, column: &'static str, id: &str) -> Result<T, Fault>
    where
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        on!(&self.0, row => row.try_get(column)).map_err(|error| {
            // The driver's error names the column only; its cause says what is wrong with the value.
            let problem = match error {
                sqlx::Error::ColumnDecode { source, .. } => source.to_string(),
                other => other.to_string(),
            };
            Fault::new("reading a row", format!("{column} of row {id:?} is corrupt: {problem}"))
        })
    }

    /// The text of an id column, to name the row by; `?` if not even that can be read.
    pub(super) fn name(&self, column: &'static str) -> String {
        self.get::<String>(column, "?").unwrap_or_else(|_| "?".to_owned())
    }

    /// A text that may be missing, which better-auth writes as an empty one.
    pub(super) fn text(&self, column: &'static str, id: &str) -> Result<Option<String>, Fault> {
        Ok(self.get::<Option<String>>(column, id)?.filter(|text| !text.is_empty()))
    }
}
