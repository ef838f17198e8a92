//! The typed accessors of [`Headers`].

use offhook_base::UtcMillis;

use super::{
    Addresses, AuthParams, CSeq, Challenge, Contact, Contacts, Credentials, DialogRef, DigestChallenge,
    DigestCredentials, Event, HeaderError, HeaderName, Headers, HistoryEntry, MediaType, NameAddr, RAck,
    Reason, SessionExpires, Tokens, VALUES_MAX, Via, Warning,
    date::parse_date,
    scan::{Split, delta_seconds, number, trim},
};

/// What every request and response carries (RFC 3261 §8.1.1).
impl Headers {
    /// The topmost Via value.
    ///
    /// # Errors
    /// Missing or malformed; empty elements in its line count as malformed.
    pub fn via(&self) -> Result<Via<'_>, HeaderError> {
        let (essentials, head) = self.essentials();
        Ok(Via::at(&essentials.via?, head))
    }

    /// The Via values below the topmost one.
    pub(crate) fn further_vias(&self) -> impl Iterator<Item = Result<Via<'_>, HeaderError>> {
        // Mostly there are none: the topmost one is not taken apart again to find that out.
        let (essentials, _) = self.essentials();
        (!essentials.via_alone).then(|| self.vias().skip(1)).into_iter().flatten()
    }

    /// Every Via value from top to bottom.
    pub fn vias(&self) -> impl Iterator<Item = Result<Via<'_>, HeaderError>> {
        self.all(&HeaderName::Via)
            .flat_map(|line| Split::new(line, b','))
            .map(|value| Via::parse(value).ok_or(HeaderError::Malformed(HeaderName::Via)))
    }

    /// From.
    ///
    /// # Errors
    /// Missing or malformed.
    pub fn from(&self) -> Result<NameAddr<'_>, HeaderError> {
        let (essentials, head) = self.essentials();
        Ok(NameAddr::at(&essentials.from?, head))
    }

    /// To.
    ///
    /// # Errors
    /// Missing or malformed.
    pub fn to(&self) -> Result<NameAddr<'_>, HeaderError> {
        let (essentials, head) = self.essentials();
        Ok(NameAddr::at(&essentials.to?, head))
    }

    /// Call-ID.
    ///
    /// # Errors
    /// Missing or malformed.
    pub fn call_id(&self) -> Result<&str, HeaderError> {
        let (essentials, head) = self.essentials();
        Ok(essentials.call_id?.text(head))
    }

    /// CSeq.
    ///
    /// # Errors
    /// Missing or malformed; a number that does not fit 32 bits is malformed.
    pub fn cseq(&self) -> Result<CSeq<'_>, HeaderError> {
        let (essentials, head) = self.essentials();
        let (number, method) = essentials.cseq?;
        Ok(CSeq { number, method: method.text(head) })
    }

    /// Max-Forwards, 0..=255; `None` if absent or malformed.
    pub fn max_forwards(&self) -> Option<u8> {
        number(self.first(&HeaderName::MaxForwards)?)
    }

    /// Content-Length, octets; `None` if absent or malformed.
    pub fn content_length(&self) -> Option<usize> {
        number(self.first(&HeaderName::ContentLength)?)
    }

    /// Content-Type; `None` if absent or malformed.
    pub fn content_type(&self) -> Option<MediaType<'_>> {
        MediaType::parse(self.first(&HeaderName::ContentType)?)
    }

    /// Date; `None` if absent or malformed: a wrong Date alone is no reason to refuse a message (RFC 4475 §3.1.2.12).
    pub fn date(&self) -> Option<UtcMillis> {
        parse_date(self.first(&HeaderName::Date)?)
    }
}

/// Addresses and routes.
impl Headers {
    /// All Contact values.
    ///
    /// # Errors
    /// Malformed, `*` beside others, or more than [`VALUES_MAX`].
    pub fn contacts(&self) -> Result<Contacts<'_>, HeaderError> {
        let malformed = HeaderError::Malformed(HeaderName::Contact);
        let contact = |value| match value {
            // Beside others it names no address.
            "*" => Err(malformed),
            _ => Ok(Contact { name_addr: NameAddr::parse(value).ok_or(malformed)? }),
        };
        let mut values = self.values(&HeaderName::Contact);
        let (first, second) = (values.next(), values.next());
        match (first, second) {
            (Some("*"), None) => Ok(Contacts::Star),
            (first, None) => Ok(Contacts::One(first.map(contact).transpose()?)),
            (first, second) => {
                let all = first.into_iter().chain(second).chain(values);
                let contacts: Vec<_> = all.take(VALUES_MAX + 1).map(contact).collect::<Result<_, _>>()?;
                if contacts.len() > VALUES_MAX {
                    return Err(HeaderError::TooMany(HeaderName::Contact));
                }
                Ok(Contacts::Many(contacts))
            }
        }
    }

    /// Route values, the next hop first.
    pub fn routes(&self) -> Addresses<'_> {
        Addresses::of(self, HeaderName::Route)
    }

    /// Record-Route values, top first.
    pub fn record_routes(&self) -> Addresses<'_> {
        Addresses::of(self, HeaderName::RecordRoute)
    }

    /// Path values (RFC 3327).
    pub fn paths(&self) -> Addresses<'_> {
        Addresses::of(self, HeaderName::Path)
    }

    /// Service-Route values (RFC 3608).
    pub fn service_routes(&self) -> Addresses<'_> {
        Addresses::of(self, HeaderName::ServiceRoute)
    }

    /// The addresses of any header that holds a list of them: Diversion (RFC 5806), Reply-To, Refer-To, ...
    pub fn addresses(&self, name: &HeaderName) -> Addresses<'_> {
        Addresses::of(self, *name)
    }

    /// P-Asserted-Identity values: a SIP and a tel URI at most (RFC 3325 §9.1). To be believed from trusted peers only.
    pub fn p_asserted_identity(&self) -> Addresses<'_> {
        Addresses::of(self, HeaderName::PAssertedIdentity)
    }

    /// P-Preferred-Identity values (RFC 3325 §9.2).
    pub fn p_preferred_identity(&self) -> Addresses<'_> {
        Addresses::of(self, HeaderName::PPreferredIdentity)
    }

    /// Diversion values, the latest first (RFC 5806).
    pub fn diversions(&self) -> Addresses<'_> {
        Addresses::of(self, HeaderName::Diversion)
    }

    /// History-Info entries, oldest first (RFC 7044).
    pub fn history(&self) -> impl Iterator<Item = Result<HistoryEntry<'_>, HeaderError>> {
        self.addresses(&HeaderName::HistoryInfo).map(|entry| entry.map(|address| HistoryEntry { address }))
    }

    /// Alert-Info values (RFC 3261 §20.4, RFC 7462).
    pub fn alert_info(&self) -> Addresses<'_> {
        Addresses::of(self, HeaderName::AlertInfo)
    }
}

/// Capabilities and extensions.
impl Headers {
    /// Option tags of Require.
    pub fn require(&self) -> Tokens<'_> {
        Tokens::of(self, HeaderName::Require)
    }

    /// Option tags of Proxy-Require.
    pub fn proxy_require(&self) -> Tokens<'_> {
        Tokens::of(self, HeaderName::ProxyRequire)
    }

    /// Option tags of Supported.
    pub fn supported(&self) -> Tokens<'_> {
        Tokens::of(self, HeaderName::Supported)
    }

    /// Option tags of Unsupported.
    pub fn unsupported(&self) -> Tokens<'_> {
        Tokens::of(self, HeaderName::Unsupported)
    }

    /// Methods of Allow.
    pub fn allow(&self) -> Tokens<'_> {
        Tokens::of(self, HeaderName::Allow)
    }

    /// Whether Require or Supported names `option`.
    pub fn supports(&self, option: &str) -> bool {
        self.supported().chain(self.require()).any(|tag| tag.eq_ignore_ascii_case(option))
    }

    /// Media ranges of Accept; `None` if there is no Accept header, which means `application/sdp` (RFC 3261 §20.1). Malformed
    /// ranges are left out.
    pub fn accept(&self) -> Option<impl Iterator<Item = MediaType<'_>>> {
        self.contains(&HeaderName::Accept)
            .then(|| self.values(&HeaderName::Accept).filter_map(MediaType::parse))
    }

    /// Privacy values (RFC 3323 §4.2): `id`, `header`, `session`, `user`, `none`, `critical`, `history`. They are separated by
    /// semicolons.
    pub fn privacy(&self) -> impl Iterator<Item = &str> {
        self.all(&HeaderName::Privacy)
            .flat_map(|line| line.split([';', ',']))
            .map(trim)
            .filter(|value| !value.is_empty())
    }

    /// P-Early-Media directions and flags (RFC 5009).
    pub fn p_early_media(&self) -> Tokens<'_> {
        Tokens::of(self, HeaderName::PEarlyMedia)
    }
}

/// Times, sessions, dialogs.
impl Headers {
    /// Expires, seconds; `None` if absent or malformed; numbers above 2^32-1 count as 2^32-1.
    pub fn expires(&self) -> Option<u32> {
        delta_seconds(self.first(&HeaderName::Expires)?)
    }

    /// Min-Expires, seconds.
    pub fn min_expires(&self) -> Option<u32> {
        delta_seconds(self.first(&HeaderName::MinExpires)?)
    }

    /// Retry-After, seconds; comment and parameters are left out (RFC 3261 §20.33).
    pub fn retry_after(&self) -> Option<u32> {
        delta_seconds(self.first(&HeaderName::RetryAfter)?.split(['(', ';']).next()?)
    }

    /// Session-Expires (RFC 4028).
    ///
    /// # Errors
    /// Malformed.
    pub fn session_expires(&self) -> Result<Option<SessionExpires>, HeaderError> {
        self.optional_with(HeaderName::SessionExpires, SessionExpires::parse)
    }

    /// Min-SE, seconds; `None` if absent or malformed.
    pub fn min_se(&self) -> Option<u32> {
        delta_seconds(self.first(&HeaderName::MinSe)?.split(';').next()?)
    }

    /// RSeq, 1..=2^32-1; `None` if absent or malformed (RFC 3262 §7.1).
    pub fn rseq(&self) -> Option<u32> {
        number(self.first(&HeaderName::RSeq)?).filter(|number| *number != 0)
    }

    /// RAck (RFC 3262).
    ///
    /// # Errors
    /// Malformed.
    pub fn rack(&self) -> Result<Option<RAck<'_>>, HeaderError> {
        self.optional_with(HeaderName::RAck, RAck::parse)
    }

    /// Replaces (RFC 3891).
    ///
    /// # Errors
    /// Malformed, or more than one.
    pub fn replaces(&self) -> Result<Option<DialogRef<'_>>, HeaderError> {
        if self.all(&HeaderName::Replaces).nth(1).is_some() {
            return Err(HeaderError::Repeated(HeaderName::Replaces));
        }
        self.optional_with(HeaderName::Replaces, |value| DialogRef::parse(value, "to-tag", "from-tag"))
    }

    /// Join (RFC 3911).
    ///
    /// # Errors
    /// Malformed.
    pub fn join(&self) -> Result<Option<DialogRef<'_>>, HeaderError> {
        self.optional_with(HeaderName::Join, |value| DialogRef::parse(value, "to-tag", "from-tag"))
    }

    /// Target-Dialog (RFC 4538).
    ///
    /// # Errors
    /// Malformed.
    pub fn target_dialog(&self) -> Result<Option<DialogRef<'_>>, HeaderError> {
        self.optional_with(HeaderName::TargetDialog, |value| {
            DialogRef::parse(value, "local-tag", "remote-tag")
        })
    }

    /// Event (RFC 6665).
    ///
    /// # Errors
    /// Malformed.
    pub fn event(&self) -> Result<Option<Event<'_>>, HeaderError> {
        self.optional_with(HeaderName::Event, Event::parse)
    }

    /// Reason values (RFC 3326); malformed ones are left out.
    pub fn reason(&self) -> impl Iterator<Item = Reason<'_>> {
        self.values(&HeaderName::Reason).filter_map(Reason::parse)
    }

    /// Warning values; malformed ones are left out.
    pub fn warnings(&self) -> impl Iterator<Item = Warning<'_>> {
        self.values(&HeaderName::Warning).filter_map(Warning::parse)
    }
}

/// Authentication.
impl Headers {
    /// Digest credentials of Authorization; other schemes and malformed ones are left out.
    pub fn authorization(&self) -> impl Iterator<Item = DigestCredentials<'_>> {
        self.credentials(&HeaderName::Authorization)
            .filter_map(|one| DigestCredentials::from_credentials(&one))
    }

    /// Digest credentials of Proxy-Authorization; other schemes and malformed ones are left out.
    pub fn proxy_authorization(&self) -> impl Iterator<Item = DigestCredentials<'_>> {
        self.credentials(&HeaderName::ProxyAuthorization)
            .filter_map(|one| DigestCredentials::from_credentials(&one))
    }

    /// Digest challenges of WWW-Authenticate, in the server's order of preference.
    pub fn www_authenticate(&self) -> impl Iterator<Item = DigestChallenge<'_>> {
        self.credentials(&HeaderName::WwwAuthenticate)
            .filter_map(|one: Challenge<'_>| DigestChallenge::from_challenge(&one))
    }

    /// Digest challenges of Proxy-Authenticate.
    pub fn proxy_authenticate(&self) -> impl Iterator<Item = DigestChallenge<'_>> {
        self.credentials(&HeaderName::ProxyAuthenticate)
            .filter_map(|one: Challenge<'_>| DigestChallenge::from_challenge(&one))
    }

    /// Credentials or challenges of any scheme, one per line; malformed ones are left out.
    pub fn credentials(&self, name: &HeaderName) -> impl Iterator<Item = Credentials<'_>> + use<'_> {
        self.all(name).filter_map(Credentials::parse)
    }

    /// Authentication-Info (RFC 3261 §20.6); `None` if absent or malformed.
    pub fn authentication_info(&self) -> Option<AuthParams<'_>> {
        AuthParams::parse(self.first(&HeaderName::AuthenticationInfo)?)
    }
}

impl Headers {
    fn optional_with<'a, T>(
        &'a self,
        name: HeaderName,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<Option<T>, HeaderError> {
        self.first(&name).map(|value| parse(value).ok_or(HeaderError::Malformed(name))).transpose()
    }
}
