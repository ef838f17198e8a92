//! A section of the file and its documentation, made from one declaration so that they cannot part.

/// One key of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDocs {
    /// As written in the file.
    pub name: &'static str,
    /// Its meaning: the field's docstring.
    pub docs: &'static str,
    /// What may be written, by the field's type.
    pub allowed: String,
}

/// One `[section]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionDocs {
    /// Its docstring.
    pub docs: &'static str,
    /// Its keys in the order of the declaration.
    pub keys: Vec<KeyDocs>,
}

/// What a configuration value may be, in words for the reference page.
pub trait Describe {
    /// For example ``a whole number from 5 to 180``.
    fn allowed() -> String;
}

/// A section that can describe itself.
pub trait Section {
    /// Its documentation.
    fn docs() -> SectionDocs;
}

impl Describe for bool {
    fn allowed() -> String {
        "`true` or `false`".into()
    }
}

impl Describe for String {
    fn allowed() -> String {
        "text".into()
    }
}

impl Describe for std::path::PathBuf {
    fn allowed() -> String {
        "a path; a relative one counts from the directory the node is started in".into()
    }
}

impl Describe for std::net::IpAddr {
    fn allowed() -> String {
        "an IPv4 or IPv6 address".into()
    }
}

impl Describe for std::net::SocketAddr {
    fn allowed() -> String {
        "`address:port`; an IPv6 address stands in brackets".into()
    }
}

impl<T: Describe> Describe for Option<T> {
    fn allowed() -> String {
        T::allowed()
    }
}

impl<T: Describe> Describe for Vec<T> {
    fn allowed() -> String {
        format!("a list, each {}", T::allowed())
    }
}

/// Declares a section: its struct, its defaults, and its documentation.
macro_rules! section {
    (
        $(#[doc = $docs:literal])+
        $section:ident {
            $($(#[doc = $key_docs:literal])+ $key:ident: $type:ty = $default:expr,)+
        }
    ) => {
        $(#[doc = $docs])+
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $section {
            $($(#[doc = $key_docs])+ pub $key: $type,)+
        }

        impl Default for $section {
            fn default() -> Self {
                Self { $($key: $default,)+ }
            }
        }

        impl $crate::config::section::Section for $section {
            fn docs() -> $crate::config::section::SectionDocs {
                $crate::config::section::SectionDocs {
                    docs: concat!($($docs, "\n"),+),
                    keys: vec![$(
                        $crate::config::section::KeyDocs {
                            name: stringify!($key),
                            docs: concat!($($key_docs, "\n"),+),
                            allowed: <$type as $crate::config::section::Describe>::allowed(),
                        },
                    )+],
                }
            }
        }
    };
}

/// Declares a closed set of words and their documentation.
macro_rules! words {
    (
        $(#[doc = $docs:literal])+
        $name:ident { $($(#[doc = $word_docs:literal])+ $word:ident = $text:literal,)+ }
    ) => {
        $(#[doc = $docs])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[doc = $word_docs])+ #[serde(rename = $text)] $word,)+
        }

        impl $name {
            /// As written in the file.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$word => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::config::section::Describe for $name {
            fn allowed() -> String {
                [$(concat!("`\"", $text, "\"`")),+].join(", ")
            }
        }
    };
}

pub(super) use {section, words};
