//! A database of the site as the first version of the program made it.

use std::path::Path;

use sqlx::Connection as _;

/// What every later migration has added, taken off again.
const STEPS_BACK: [&str; 6] = [
    "ALTER TABLE lines DROP COLUMN srtp",
    "ALTER TABLE peers DROP COLUMN srtp",
    "DROP TABLE networks",
    "DROP TABLE routing_versions",
    "DROP TABLE routing_tables",
    "PRAGMA user_version = 1",
];

/// Makes the database of `folder`, which nobody has open, one of schema 1.
pub async fn take_back_to_the_first(folder: &Path) {
    let file = format!("sqlite://{}", folder.join("site.db").display());
    let mut connection = sqlx::SqliteConnection::connect(&file).await.unwrap();
    for step in STEPS_BACK {
        sqlx::query(step).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}
