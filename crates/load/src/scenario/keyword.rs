//! Keywords: what stands in brackets in a message.

use super::{
    fault::{Fault, Place},
    read::Names,
    template::Template,
    variables::VariableId,
};

/// A keyword.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is documented in docs/reference/load-sipp.md under its own name")]
pub enum Keyword {
    Service,
    RemoteHost,
    RemoteIp,
    RemotePort(i64),
    Transport,
    LocalIp,
    LocalIpType,
    LocalPort(i64),
    ServerIp,
    MediaIp,
    MediaIpType,
    MediaPort(i64),
    AutoMediaPort(i64),
    StreamAudioPort(i64),
    StreamVideoPort(i64),
    /// `[cryptotag1audio]`: the slot of a key, 1 or 2.
    CryptoTag(u8),
    /// `[cryptosuiteaescm128sha1801audio]`: a suite by its name on the wire.
    CryptoSuite(&'static str),
    /// `[cryptokeyparams1audio]`: the call's own key in that slot.
    CryptoKey(u8),
    Pid,
    SippVersion,
    /// A value given with `-key`.
    Given(String),
    /// The content of a file.
    File(Vec<u8>),
    Len(i64),
    CallNumber,
    CallId,
    Cseq(i64),
    Branch(i64),
    MsgIndex,
    ClockTick,
    Date,
    Timestamp,
    DynamicId,
    UserId,
    Users,
    PeerTagParam,
    Routes,
    NextUrl,
    LastMessage,
    LastRequestUri,
    LastCseqNumber(i64),
    LastHeader(LastHeader),
    Field(Field),
    Variable(VariableId),
    Fill {
        text: Vec<u8>,
        variable: VariableId,
    },
    Authentication(Authentication),
}

/// `[last_Via:]`, `[last_From.value]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastHeader {
    /// Its name, no colon.
    pub name: Vec<u8>,
    /// Without the name.
    pub value_only: bool,
}

/// `[field0 file="users.csv" line=[$n]]`.
#[derive(Clone, Debug)]
pub struct Field {
    /// Which field of the line, from 0.
    pub number: usize,
    /// Which injection file, as [`super::read::Known::files`] counts them.
    pub file: usize,
    /// Which line instead of the call's, from 0.
    pub line: Option<Template>,
}

/// `[authentication username=joe password=schmo]`.
#[derive(Clone, Debug, Default)]
pub struct Authentication {
    /// Instead of `-au`.
    pub username: Option<Template>,
    /// Instead of `-ap`.
    pub password: Option<Template>,
}

impl Keyword {
    /// The texts of its parameters.
    pub fn parameters(&self) -> impl Iterator<Item = &Template> {
        let both = match self {
            Self::Field(field) => [field.line.as_ref(), None],
            Self::Authentication(given) => [given.username.as_ref(), given.password.as_ref()],
            _ => [None, None],
        };
        both.into_iter().flatten()
    }
}

/// All names, for the advice when one is unknown.
const NAMES: &[&str] = &[
    "service",
    "remote_host",
    "remote_ip",
    "remote_port",
    "transport",
    "local_ip",
    "local_ip_type",
    "local_port",
    "server_ip",
    "media_ip",
    "media_ip_type",
    "media_port",
    "auto_media_port",
    "rtpstream_audio_port",
    "rtpstream_video_port",
    "cryptotag1audio",
    "cryptosuiteaescm128sha1801audio",
    "cryptokeyparams1audio",
    "pid",
    "sipp_version",
    "file",
    "len",
    "call_number",
    "call_id",
    "cseq",
    "branch",
    "msg_index",
    "clock_tick",
    "date",
    "timestamp",
    "dynamic_id",
    "userid",
    "users",
    "peer_tag_param",
    "routes",
    "next_url",
    "last_message",
    "last_Request_URI",
    "last_cseq_number",
    "field0",
    "fill",
    "authentication",
];

/// SIPp has these; here they are refused, with the reason.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("tdmmap", "maps of TDM circuits are not supported"),
    ("crypto", "only audio is encrypted, with cryptosuiteaescm128sha1801audio or ...sha1321audio"),
    ("ueaescm", "media that is authenticated but not encrypted is not supported"),
];

/// The octets of the keyword that `text` begins with, brackets included; `None` if it is not ended.
pub fn length(text: &[u8]) -> Option<usize> {
    let mut depth = 0_u32;
    for (at, octet) in text.iter().enumerate() {
        match octet {
            b'[' => depth += 1,
            b']' => depth -= 1,
            b'\n' => return None,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

/// Reads what stands between the brackets.
///
/// # Errors
/// It is none that is known, or its parameters are wrong.
pub fn parse(inside: &[u8], place: Place, names: &mut Names<'_>) -> Result<Keyword, Fault> {
    let text = std::str::from_utf8(inside).map_err(|_| Fault::new(place, "the keyword is not text"))?;
    let text = text.trim();
    if let Some(name) = text.strip_prefix('$') {
        return names.variable(name.trim(), place).map(Keyword::Variable);
    }
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if let Some((_, value)) = names.known.keys.iter().find(|(key, _)| key == word) {
        return Ok(Keyword::Given(value.clone()));
    }
    let mut parameters = Parameters::read(rest, place)?;
    let keyword = with_parameters(word, &mut parameters, place, names)?;
    parameters.none_left(word)?;
    Ok(keyword)
}

fn with_parameters(
    word: &str,
    parameters: &mut Parameters,
    place: Place,
    names: &mut Names<'_>,
) -> Result<Keyword, Fault> {
    let field = word.strip_prefix("field").and_then(|digits| digits.parse().ok());
    if let Some(number) = field {
        let file = parameters.take("file");
        let line = parameters.template("line", names)?;
        return names.file(file.as_deref(), place).map(|file| Keyword::Field(Field { number, file, line }));
    }
    match word {
        "authentication" => Ok(Keyword::Authentication(Authentication {
            username: parameters.template("username", names)?,
            password: parameters.template("password", names)?,
        })),
        "fill" => {
            let text = parameters.take("text").unwrap_or_else(|| "X".into()).into_bytes();
            let Some(variable) = parameters.take("variable") else {
                return Err(Fault::new(place, "[fill] needs a variable that holds the length")
                    .hint("[fill text=\"X\" variable=length]"));
            };
            if text.is_empty() {
                return Err(Fault::new(place, "[fill] cannot fill with an empty text"));
            }
            let variable = names.variable(variable.trim_start_matches('$'), place)?;
            Ok(Keyword::Fill { text, variable })
        }
        "file" => match parameters.take("name") {
            Some(name) => {
                let content = (names.known.read)(&name).map_err(|why| Fault::new(place, why))?;
                Ok(Keyword::File(content))
            }
            None => Err(Fault::new(place, "[file] needs a name").hint("[file name=body.txt]")),
        },
        _ => plain(word, place),
    }
}

/// A keyword without parameters, perhaps with an offset.
fn plain(word: &str, place: Place) -> Result<Keyword, Fault> {
    let (name, offset) = split_offset(word);
    let keyword = match name {
        "remote_port" => Keyword::RemotePort(offset),
        "local_port" => Keyword::LocalPort(offset),
        "media_port" => Keyword::MediaPort(offset),
        "auto_media_port" => Keyword::AutoMediaPort(offset),
        "rtpstream_audio_port" => Keyword::StreamAudioPort(offset),
        "rtpstream_video_port" => Keyword::StreamVideoPort(offset),
        "len" => Keyword::Len(offset),
        "cseq" => Keyword::Cseq(offset),
        "branch" => Keyword::Branch(offset),
        "last_cseq_number" => Keyword::LastCseqNumber(offset),
        _ => return unmoved(word, place),
    };
    Ok(keyword)
}

fn unmoved(word: &str, place: Place) -> Result<Keyword, Fault> {
    let keyword = match word {
        "service" => Keyword::Service,
        "remote_host" => Keyword::RemoteHost,
        "remote_ip" => Keyword::RemoteIp,
        "transport" => Keyword::Transport,
        "local_ip" => Keyword::LocalIp,
        "local_ip_type" => Keyword::LocalIpType,
        "server_ip" => Keyword::ServerIp,
        "media_ip" => Keyword::MediaIp,
        "media_ip_type" => Keyword::MediaIpType,
        "cryptotag1audio" => Keyword::CryptoTag(1),
        "cryptotag2audio" => Keyword::CryptoTag(2),
        // The last digit is the slot, which the suite does not depend on.
        "cryptosuiteaescm128sha1801audio" | "cryptosuiteaescm128sha1802audio" => {
            Keyword::CryptoSuite("AES_CM_128_HMAC_SHA1_80")
        }
        "cryptosuiteaescm128sha1321audio" | "cryptosuiteaescm128sha1322audio" => {
            Keyword::CryptoSuite("AES_CM_128_HMAC_SHA1_32")
        }
        "cryptokeyparams1audio" => Keyword::CryptoKey(1),
        "cryptokeyparams2audio" => Keyword::CryptoKey(2),
        "pid" => Keyword::Pid,
        "sipp_version" => Keyword::SippVersion,
        "call_number" => Keyword::CallNumber,
        "call_id" => Keyword::CallId,
        "msg_index" => Keyword::MsgIndex,
        "clock_tick" => Keyword::ClockTick,
        "date" => Keyword::Date,
        "timestamp" => Keyword::Timestamp,
        "dynamic_id" => Keyword::DynamicId,
        "userid" => Keyword::UserId,
        "users" => Keyword::Users,
        "peer_tag_param" => Keyword::PeerTagParam,
        "routes" => Keyword::Routes,
        "next_url" => Keyword::NextUrl,
        "last_message" => Keyword::LastMessage,
        "last_Request_URI" => Keyword::LastRequestUri,
        _ => match word.strip_prefix("last_") {
            Some(header) if !header.is_empty() => return Ok(last_header(header)),
            _ => return Err(unknown(word, place)),
        },
    };
    Ok(keyword)
}

fn last_header(name: &str) -> Keyword {
    let (name, value_only) = match name.strip_suffix(".value") {
        Some(name) => (name, true),
        None => (name, false),
    };
    Keyword::LastHeader(LastHeader { name: name.trim_end_matches(':').trim().into(), value_only })
}

fn unknown(word: &str, place: Place) -> Fault {
    match UNSUPPORTED.iter().find(|(name, _)| word.starts_with(name)) {
        Some((_, reason)) => Fault::new(place, format!("unsupported keyword [{word}]")).hint(*reason),
        None => {
            let fault = Fault::unknown(place, "keyword", word, NAMES);
            let hint = if fault.hint.is_empty() {
                format!(r"give its value with -key {word} VALUE, or write \x5b for a bracket that is text")
            } else {
                fault.hint.clone()
            };
            fault.hint(hint)
        }
    }
}

/// `len+3` is `len` and 3.
fn split_offset(word: &str) -> (&str, i64) {
    let Some(at) = word.find(['+', '-']) else { return (word, 0) };
    match word[at..].trim_start_matches('+').parse() {
        Ok(offset) => (word[..at].trim(), offset),
        Err(_) => (word, 0),
    }
}

/// `name=value` pairs; values may be in quotes and may hold keywords.
struct Parameters {
    rows: Vec<(String, String)>,
    place: Place,
}

impl Parameters {
    fn read(text: &str, place: Place) -> Result<Self, Fault> {
        let mut rows = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let Some((name, after)) = rest.split_once('=') else {
                return Err(Fault::new(place, format!("`{rest}` in a keyword is no name=value")));
            };
            let after = after.trim_start();
            let quote = ["\\\"", "\"", "'"].into_iter().find(|quote| after.starts_with(quote));
            let (value, behind) = match quote {
                Some(quote) => after[quote.len()..]
                    .split_once(quote)
                    .ok_or_else(|| Fault::new(place, format!("the value of `{name}` lacks its quote")))?,
                None => after.split_at(bare_length(after)),
            };
            rows.push((name.trim().to_string(), value.to_string()));
            rest = behind.trim_start();
        }
        Ok(Self { rows, place })
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.rows.iter().position(|(known, _)| known == name)?;
        Some(self.rows.remove(at).1)
    }

    fn template(&mut self, name: &str, names: &mut Names<'_>) -> Result<Option<Template>, Fault> {
        let place = self.place;
        self.take(name).map(|text| Template::compile(text.as_bytes(), place, names)).transpose()
    }

    fn none_left(&self, word: &str) -> Result<(), Fault> {
        const ALL: &[&str] = &["file", "line", "username", "password", "text", "variable", "name"];
        match self.rows.first() {
            None => Ok(()),
            Some((name, _)) if name.starts_with("aka_") => {
                Err(Fault::new(self.place, format!("unsupported parameter `{name}` of [{word}]"))
                    .hint("AKA authentication is not supported; MD5 and SHA-256 are"))
            }
            Some((name, _)) => Err(Fault::unknown(self.place, &format!("parameter of [{word}]"), name, ALL)),
        }
    }
}

/// Up to the next blank that is in no keyword.
fn bare_length(text: &str) -> usize {
    let mut depth = 0_i32;
    for (at, letter) in text.char_indices() {
        match letter {
            '[' => depth += 1,
            ']' => depth -= 1,
            letter if letter.is_whitespace() && depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}
