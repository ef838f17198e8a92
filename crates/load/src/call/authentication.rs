//! Digest: answering challenges, and checking the answers of others.

use offhook_sip::{
    digest::{Algorithm, DigestSession, Protection, ResponseInput},
    header::{Challenge, Credentials, DigestChallenge, DigestCredentials},
    message::Method,
};

use super::{
    bind,
    render::RenderError,
    shard::{Context, Core},
    state::Call,
    view::{self, View},
};
use crate::scenario::{keyword::Authentication, template::Template};

impl Core {
    /// The header that answers the challenge, for the request `message`.
    pub(super) fn authenticate(
        &mut self,
        context: Context<'_>,
        call: &mut Call,
        given: &Authentication,
        message: &[u8],
        depth: u8,
    ) -> Result<Vec<u8>, RenderError> {
        if call.challenge.is_none() {
            return Err(RenderError::NoChallenge);
        }
        let settings = &context.plan.settings;
        let username = match &given.username {
            Some(template) => self.parameter(context, call, template, depth)?,
            None => settings.auth_username.as_ref().unwrap_or(&settings.service).clone().into_bytes(),
        };
        let password = match &given.password {
            Some(template) => self.parameter(context, call, template, depth)?,
            None => settings.auth_password.clone().into_bytes(),
        };
        let uri = match (&settings.auth_uri, settings.remote) {
            (Some(uri), _) => format!("sip:{uri}"),
            (None, Some(remote)) => format!("sip:{}:{}", bind::in_brackets(remote.ip()), remote.port()),
            (None, None) => String::new(),
        };
        let method = message.split(|octet| *octet == b' ').next().unwrap_or_default();
        let method = Method::from_token(&String::from_utf8_lossy(method));
        let challenge = call.challenge.as_deref_mut().ok_or(RenderError::NoChallenge)?;
        if challenge.session.as_ref().is_none_or(|(who, _)| *who != username) {
            let name = String::from_utf8_lossy(&username);
            let secret = String::from_utf8_lossy(&password);
            let challenges: Vec<_> =
                challenge.values.iter().filter_map(|value| Challenge::parse(value)).collect();
            let digests = challenges.iter().filter_map(DigestChallenge::from_challenge);
            let session =
                DigestSession::answer_to(&name, digests, |hash, realm| Some(hash.ha1(&name, realm, &secret)));
            challenge.session = Some((username, session.ok_or(RenderError::BadChallenge)?));
        }
        let Some((_, session)) = &mut challenge.session else { return Err(RenderError::BadChallenge) };
        let value = session.authorize(&method, &uri, view::body(message), &mut self.random);
        let name = if challenge.code == 401 { "Authorization" } else { "Proxy-Authorization" };
        Ok(format!("{name}: {value}").into_bytes())
    }

    fn parameter(
        &mut self,
        context: Context<'_>,
        call: &mut Call,
        template: &Template,
        depth: u8,
    ) -> Result<Vec<u8>, RenderError> {
        let mut text = Vec::new();
        if let Ok(bound) = bind::bind(template, &context.plan.settings) {
            let index = call.step;
            self.render_within(context, call, &bound, index, &mut text, depth + 1)?;
        }
        Ok(text)
    }
}

/// Whether the request proves `username` and `password` (`<verifyauth>`).
pub(super) fn is_proved(request: &[u8], username: &[u8], password: &[u8]) -> bool {
    let Some(view) = View::parse(request) else { return false };
    let view::Start::Request(method) = view.start else { return false };
    let (Ok(username), Ok(password), Ok(method)) =
        (std::str::from_utf8(username), std::str::from_utf8(password), std::str::from_utf8(method))
    else {
        return false;
    };
    view.all(b"Authorization").chain(view.all(b"Proxy-Authorization")).any(|value| {
        let Some(credentials) = std::str::from_utf8(value).ok().and_then(Credentials::parse) else {
            return false;
        };
        let Some(digest) = DigestCredentials::from_credentials(&credentials) else { return false };
        let Some(algorithm) = digest.algorithm.as_deref().map_or(Some(Algorithm::MD5), Algorithm::parse)
        else {
            return false;
        };
        let (count, cnonce) = (digest.nc.as_deref().unwrap_or(""), digest.cnonce.as_deref().unwrap_or(""));
        let protection = match digest.qop.as_deref() {
            None => Protection::Legacy,
            Some("auth") => Protection::Auth { count, cnonce },
            Some("auth-int") => Protection::AuthInt { count, cnonce, body: view.body() },
            Some(_) => return false,
        };
        let input = ResponseInput { algorithm, method, uri: &digest.uri, nonce: &digest.nonce, protection };
        let ha1 = algorithm.hash.ha1(username, &digest.realm, password);
        *digest.username == *username && input.response(&ha1).matches(&digest.response)
    })
}
