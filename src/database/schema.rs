//! The tables, and how they come to be: each step in a transaction of its own, under a lock that lets one daemon do it.

use super::{Connection, Database, Error};

/// Each step makes a version of the one before. Once released, a step stays as it is.
const STEPS: [&str; 1] = [include_str!("schema.sql")];

/// The latest version.
const VERSION: i32 = 1;

/// The earliest release whose daemons can work beside this one's, by the version it knows. A step that takes away what they
/// need raises it, one release later than the step that brings what takes its place; the function by which they hand changes on
/// goes with it, so that none does until it has noticed.
const READABLE_BY: i32 = 1;

/// Any number, as long as it is nobody else's: "spotgate" in a phone's letters.
const LOCK: i64 = 7_768_428_300;

/// From which version to which the schema was brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// 0: there was none.
    pub from: i32,
    /// What it is now.
    pub to: i32,
}

/// A schema that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    /// Its version.
    pub version: i32,
    readable_by: i32,
}

impl Schema {
    /// Whether a later release made it.
    #[must_use]
    pub const fn is_later(self) -> bool {
        self.version > VERSION
    }

    /// Whether this release can work with it.
    ///
    /// # Errors
    ///
    /// [`Error::Stop`]: it cannot.
    pub fn usable(self) -> Result<(), Error> {
        if self.readable_by <= VERSION {
            return Ok(());
        }
        Err(Error::Stop(format!(
            "its schema is of a later release (version {}, known is {VERSION}): install that release here too",
            self.version
        )))
    }
}

impl Database {
    /// Brings the schema up to date. One that is of a later release is left alone, if that says that this one can work with it.
    ///
    /// # Errors
    ///
    /// [`Error::Stop`] for a later schema that this release cannot work with.
    pub async fn migrate(&self) -> Result<Migrated, Error> {
        self.on(async |mut connection: Connection| {
            let client = connection.client()?;
            if let Some(schema) = schema(client).await?
                && schema.version >= VERSION
            {
                connection.done();
                schema.usable()?;
                return Ok(Migrated { from: schema.version, to: schema.version });
            }
            // An error leaves the transaction open: the connection is given up then.
            client.batch_execute("BEGIN").await?;
            client.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
            client
                .batch_execute(
                    "CREATE TABLE IF NOT EXISTS spotgate_schema
                        (version int NOT NULL, readable_by int NOT NULL, at timestamptz NOT NULL DEFAULT now())",
                )
                .await?;
            // Another daemon may have done it meanwhile.
            let found = schema(client).await?;
            let from = found.map_or(0, |schema| schema.version);
            let done = usize::try_from(from).unwrap_or_default();
            for step in STEPS.iter().skip(done) {
                client.batch_execute(step).await?;
            }
            if from < VERSION {
                let note = "INSERT INTO spotgate_schema (version, readable_by) VALUES ($1, $2)";
                client.execute(note, &[&VERSION, &READABLE_BY]).await?;
            }
            client.batch_execute("COMMIT").await?;
            connection.done();
            found.map_or(Ok(()), Schema::usable)?;
            Ok(Migrated { from, to: from.max(VERSION) })
        })
        .await
    }
}

impl Database {
    /// The schema; none: there is none yet.
    ///
    /// # Errors
    ///
    /// The database did not say.
    pub async fn schema(&self) -> Result<Option<Schema>, Error> {
        self.on(async |mut connection: Connection| {
            let found = schema(connection.client()?).await?;
            connection.done();
            Ok(found)
        })
        .await
    }
}

async fn schema(client: &tokio_postgres::Client) -> Result<Option<Schema>, Error> {
    let asked = "SELECT to_regclass('spotgate_schema') IS NOT NULL, current_setting('server_encoding')";
    let there = client.query_one(asked, &[]).await?;
    let encoding: String = there.try_get(1)?;
    // The latter takes any octets for what they are.
    if !matches!(encoding.as_str(), "UTF8" | "SQL_ASCII") {
        return Err(Error::Stop(format!(
            "its encoding is {encoding}, which not every code can be written in: create it with ENCODING 'UTF8' TEMPLATE template0"
        )));
    }
    if !there.try_get::<_, bool>(0)? {
        return Ok(None);
    }
    let latest = "SELECT version, readable_by FROM spotgate_schema ORDER BY version DESC LIMIT 1";
    let row = client.query_opt(latest, &[]).await?;
    row.map(|row| Ok(Schema { version: row.try_get(0)?, readable_by: row.try_get(1)? })).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_step_for_each_version() {
        assert_eq!(usize::try_from(VERSION).unwrap(), STEPS.len());
    }
}
