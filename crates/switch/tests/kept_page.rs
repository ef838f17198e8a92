//! `docs/reference/kept-call.md` is made from the declarations of the form.

use std::path::Path;

use offhook_switch::kept::reference_page;

#[test]
fn the_reference_page_is_the_one_in_the_repository() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/kept-call.md");
    let page = reference_page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).expect("docs/reference can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page, "docs/reference/kept-call.md is old: run `make docs`");
}
