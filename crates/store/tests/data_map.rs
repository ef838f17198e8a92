//! The data map names every column there is, and none that is not.

use std::collections::BTreeSet;

use offhook_store::{Store, data_map};
use sqlx::{Connection, SqliteConnection};

#[tokio::test]
async fn every_column_of_every_table_is_in_the_data_map_once() {
    let folder = tempfile::tempdir().unwrap();
    drop(Store::open(folder.path()).await.unwrap());
    let mut found = BTreeSet::new();
    for file in ["site.db", "records.db"] {
        let path = format!("sqlite://{}", folder.path().join(file).display());
        let mut connection = SqliteConnection::connect(&path).await.unwrap();
        let columns: Vec<(String, String)> = sqlx::query_as(
            "SELECT tables.name, columns.name FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns \
             WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite_%'",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        found.extend(columns.into_iter().map(|(table, column)| format!("{file} {table}.{column}")));
    }
    let described: Vec<_> = data_map()
        .iter()
        // The file of calls has no schema that could be asked.
        .filter(|column| column.file != "calls")
        .map(|column| format!("{} {}.{}", column.file, column.table, column.column))
        .collect();
    let once: BTreeSet<_> = described.iter().cloned().collect();
    assert_eq!(described.len(), once.len(), "a column is described twice");
    let missing: Vec<_> = found.difference(&once).collect();
    let stale: Vec<_> = once.difference(&found).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "not described: {missing:?}; described but gone: {stale:?}"
    );
}
