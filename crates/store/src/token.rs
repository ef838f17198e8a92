//! Bearer tokens of the API: made here, told once, kept as SHA-256.

use offhook_base::UtcMillis;
use offhook_switch::directory::Secret;
use sha2::{Digest, Sha256};

use crate::{database::Database, edit::Author, error::StoreError, store::Store};

/// Letters of a token after its prefix: 160 bits.
const LETTER_COUNT: usize = 32;

/// What every token begins with, so that people and secret scanners know one when they see it.
const PREFIX: &str = "offhook_";

/// Longest token that is looked at; a longer one is refused unhashed.
const TOKEN_LENGTH_MAX: usize = 128;

/// Tokens a node may have: each is compared with every one presented.
const TOKENS_MAX: usize = 1_000;

/// Characters of a token's name.
const NAME_MAX: usize = 63;

/// What the bearer of a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Admin,
}

impl Role {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        (text == "admin").then_some(Self::Admin)
    }
}

/// A token without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Unique on the node.
    pub name: Box<str>,
    /// What it allows.
    pub role: Role,
    /// When it was made.
    pub created: UtcMillis,
}

/// Why a token was not made or taken away.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Its name.
    #[error("a token's name has 1 to 63 letters, digits, '.', '-' or '_'")]
    Name,
    /// There is one of that name.
    #[error("a token '{0}' exists already")]
    Exists(Box<str>),
    /// There is none of that name.
    #[error("there is no token '{0}'")]
    Missing(Box<str>),
    /// The node has as many as it may.
    #[error("there are already {TOKENS_MAX} tokens")]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All tokens in memory, so that a request does not wait for the database.
#[derive(Default)]
pub(crate) struct TokenCache(Vec<([u8; 32], Token)>);

impl TokenCache {
    pub(crate) async fn load(database: &Database) -> Result<Self, sqlx::Error> {
        let mut writer = database.writer().await;
        let rows: Vec<(Vec<u8>, Box<str>, String, i64)> =
            sqlx::query_as("SELECT hash, name, role, created FROM tokens ORDER BY id")
                .fetch_all(&mut *writer)
                .await?;
        // A row with a role of the future allows nothing.
        let token = |(hash, name, role, created): (Vec<u8>, Box<str>, String, i64)| {
            Some((
                hash.try_into().ok()?,
                Token { name, role: Role::parse(&role)?, created: UtcMillis(created) },
            ))
        };
        Ok(Self(rows.into_iter().filter_map(token).collect()))
    }
}

impl Store {
    /// Who bears `token`, or none. Takes no database access and no longer for a nearly right token than for a wrong one.
    pub fn verify_token(&self, token: &str) -> Option<Token> {
        if token.len() > TOKEN_LENGTH_MAX {
            return None;
        }
        let hash = hash_of(token);
        let cache = self.tokens().read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut found = None;
        for (known, token) in &cache.0 {
            if aws_lc_rs::constant_time::verify_slices_are_equal(known, &hash).is_ok() {
                found = Some(token);
            }
        }
        found.cloned()
    }

    /// All tokens, in the order of their making.
    pub fn tokens_listed(&self) -> Vec<Token> {
        let cache = self.tokens().read().unwrap_or_else(std::sync::PoisonError::into_inner);
        cache.0.iter().map(|(_, token)| token.clone()).collect()
    }

    /// Makes the first token, named `name`, if the node has none: for the first start.
    pub async fn first_token(&self, by: &Author, name: &str) -> Result<Option<Secret>, TokenError> {
        if self.tokens_listed().is_empty() {
            self.create_token(by, name, Role::Admin).await.map(Some)
        } else {
            Ok(None)
        }
    }

    /// Makes a token and tells it: this once.
    pub async fn create_token(&self, by: &Author, name: &str, role: Role) -> Result<Secret, TokenError> {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if !(1..=NAME_MAX).contains(&name.len()) || !name.bytes().all(letter) {
            return Err(TokenError::Name);
        }
        if self.tokens_listed().len() >= TOKENS_MAX {
            return Err(TokenError::TooMany);
        }
        let token = make_token()?;
        let outcome = {
            let mut writer = self.site_database().writer().await;
            sqlx::query("INSERT INTO tokens (name, role, hash, created) VALUES (?, ?, ?, ?)")
                .bind(name)
                .bind(role.as_str())
                .bind(hash_of(token.reveal()).as_slice())
                .bind(by.at.0)
                .execute(&mut *writer)
                .await
        };
        match outcome {
            Err(sqlx::Error::Database(refusal)) if refusal.is_unique_violation() => {
                return Err(TokenError::Exists(name.into()));
            }
            outcome => outcome.map_err(self.site_database().failed())?,
        };
        self.tokens_changed(by, "add", name).await?;
        Ok(token)
    }

    /// Gives a token a new secret; the old one is void at once.
    pub async fn replace_token(&self, by: &Author, name: &str) -> Result<Secret, TokenError> {
        let token = make_token()?;
        let touched = {
            let mut writer = self.site_database().writer().await;
            sqlx::query("UPDATE tokens SET hash = ?, created = ? WHERE name = ?")
                .bind(hash_of(token.reveal()).as_slice())
                .bind(by.at.0)
                .bind(name)
                .execute(&mut *writer)
                .await
                .map_err(self.site_database().failed())?
        };
        if touched.rows_affected() == 0 {
            return Err(TokenError::Missing(name.into()));
        }
        self.tokens_changed(by, "set", name).await?;
        Ok(token)
    }

    /// Takes a token away; it is void at once.
    pub async fn revoke_token(&self, by: &Author, name: &str) -> Result<(), TokenError> {
        let touched = {
            let mut writer = self.site_database().writer().await;
            sqlx::query("DELETE FROM tokens WHERE name = ?")
                .bind(name)
                .execute(&mut *writer)
                .await
                .map_err(self.site_database().failed())?
        };
        if touched.rows_affected() == 0 {
            return Err(TokenError::Missing(name.into()));
        }
        self.tokens_changed(by, "remove", name).await
    }

    async fn tokens_changed(&self, by: &Author, action: &str, name: &str) -> Result<(), TokenError> {
        let failed = self.site_database().failed();
        let cache = TokenCache::load(self.site_database()).await.map_err(failed)?;
        *self.tokens().write().unwrap_or_else(std::sync::PoisonError::into_inner) = cache;
        sqlx::query(
            "INSERT INTO audit (at, who, action, kind, tenant, name, fields, generation) \
             VALUES (?, ?, ?, 'token', '', ?, '', (SELECT value FROM node WHERE key = 'generation'))",
        )
        .bind(by.at.0)
        .bind(&*by.who)
        .bind(action)
        .bind(name)
        .execute(&mut *self.site_database().writer().await)
        .await
        .map_err(failed)?;
        Ok(())
    }
}

fn make_token() -> Result<Secret, StoreError> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut noise = [0; LETTER_COUNT];
    aws_lc_rs::rand::fill(&mut noise).map_err(|_| StoreError::NoRandomness)?;
    let letters = noise.iter().map(|byte| char::from(LETTERS[usize::from(byte & 31)]));
    Ok(Secret::new(&PREFIX.chars().chain(letters).collect::<String>()))
}

/// Tokens are random, so that one plain hash suffices: nobody can guess their way to one.
fn hash_of(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
