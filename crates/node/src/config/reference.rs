//! The reference page and `offhook config show`, both made from the types.

use std::fmt::Write as _;

use super::{
    Config, Dns, Edge, Http, Limits, Log, Media, Push, Services, Signalling, Sip, Storage, Tls,
    section::{Section, SectionDocs},
};

/// Every section in the order of [`Config`].
pub(super) fn sections() -> [(&'static str, SectionDocs); 12] {
    [
        ("sip", Sip::docs()),
        ("http", Http::docs()),
        ("media", Media::docs()),
        ("services", Services::docs()),
        ("dns", Dns::docs()),
        ("storage", Storage::docs()),
        ("limits", Limits::docs()),
        ("edge", Edge::docs()),
        ("tls", Tls::docs()),
        ("log", Log::docs()),
        ("push", Push::docs()),
        ("signalling", Signalling::docs()),
    ]
}

/// `docs/reference/configuration.md`: every key with its meaning, its default and what is allowed.
pub fn reference_markdown() -> String {
    let defaults = toml::Table::try_from(Config::default()).unwrap_or_default();
    let mut page = String::from(
        "# Configuration\n\n\
         <!-- Made from the types in crates/node/src/config; UPDATE_DOCS=1 cargo test -p offhook-node writes it anew. -->\n\n\
         `offhook serve` reads `offhook.toml` in the current directory, or the file named by `--config`. Without a file\n\
         the defaults below serve. A key that is not listed here is an error, and so is a value that is not allowed;\n\
         `offhook config check` names the line and the column, `offhook config show` prints what is in force.\n\n\
         Names say their unit: `_secs`, `_ms`, `_bytes`, `_days`. Tenants, users, devices, lines and peers are not here:\n\
         they are data, changed by `offhook line`, `offhook peer`, `offhook apply` and the API.\n",
    );
    for (name, section) in sections() {
        let _ = write!(page, "\n## [{name}]\n\n{}\n", paragraph(section.docs));
        let values = defaults.get(name).and_then(toml::Value::as_table);
        for key in section.keys {
            let default = values.and_then(|values| values.get(key.name));
            let _ = write!(page, "\n### {name}.{}\n\n{}\n\n", key.name, paragraph(key.docs));
            let _ = writeln!(page, "- Allowed: {}", key.allowed);
            let _ = match default {
                Some(value) => writeln!(page, "- Default: `{value}`"),
                None => writeln!(page, "- Default: not set"),
            };
        }
    }
    page
}

/// The configuration in force, as a file that could be read again.
pub fn show(config: &Config) -> String {
    toml::to_string(config).unwrap_or_default()
}

/// Docstring lines, each with its leading blank, as one paragraph.
fn paragraph(docs: &str) -> String {
    docs.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}
