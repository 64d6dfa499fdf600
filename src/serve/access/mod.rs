//! Who may use the server: API keys, their limits, and the web pages that may ask from a browser.
//!
//! - [`Access`]: the keys that are valid now, read anew when their file changes, and the rules for origins.
//! - `key`: one key, and what it has used of its limits; `meter` pays for live audio.
//! - `file`: the key file. `new`: what `imesli key new` does.
//! - `head`: what a request's headers say of all that. `origin`: [`Origin`]. `proxy`: clients behind one.
//! - `Client`: who asks, from then on.

mod file;
mod head;
mod key;
mod meter;
mod new;
mod origin;
mod proxy;

pub use self::key::Rules;
pub use self::new::new_key;
pub use self::origin::Origin;
pub use self::proxy::Network;

pub(super) use self::head::{bearer, subprotocol};
pub(super) use self::key::{Key, Running};
pub(super) use self::meter::Meter;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::failure::Failure;
use super::protocol::Code;
use super::stamp::{Stamp, stamp};
use crate::error::Error;

/// How often the key file is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How long somebody with a wrong key waits for being told so.
pub(super) const WRONG_KEY_PAUSE: Duration = Duration::from_millis(500);

/// Who may use a server. The default lets nobody in: it names no keys, and no address of this machine alone.
#[derive(Debug, Clone, Default)]
pub struct AccessOptions {
    /// The keys, one of which is wanted of everybody then.
    pub key_file: Option<PathBuf>,
    /// Without keys, other machines are let in as well.
    pub allow_anonymous: bool,
    /// Origins of web pages that may use the server besides its own.
    pub origins: Vec<Origin>,
    /// Proxies that are believed whose requests they pass on.
    pub proxies: Vec<Network>,
    /// The server listens on an address that only this machine reaches.
    pub loopback: bool,
}

/// The keys that are valid now, and the rules for web pages.
#[derive(Debug)]
pub struct Access {
    options: AccessOptions,
    keys: RwLock<Arc<[Arc<Key>]>>,
    /// The file as it was when it was last read.
    seen: Mutex<Stamp>,
}

impl Access {
    /// Reads the keys, where there are any.
    ///
    /// # Errors
    /// [`Error::InvalidInput`], in one line: the file, its line and what is wrong with it; or that other machines would
    /// be let in without a key and without anybody having said so.
    pub fn new(options: AccessOptions) -> Result<Self, Error> {
        if options.key_file.is_none() && !options.loopback && !options.allow_anonymous {
            return Err(Error::InvalidInput(
                "other machines could use this server without a key: name a file of keys by --key-file \
                 (`imesli key new NAME` makes one), let everybody in by --allow-anonymous, or listen on this \
                 machine alone by --host 127.0.0.1"
                    .to_owned(),
            ));
        }
        let access = Self { options, keys: RwLock::new(Arc::from([])), seen: Mutex::default() };
        access.reload()?;
        if access.wants_key() && access.keys().is_empty() {
            tracing::warn!("there is no key in the key file: nobody can use this server yet");
        }
        Ok(access)
    }

    fn keys(&self) -> Arc<[Arc<Key>]> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the file anew. Keys that are gone are revoked; what a name has used stays used.
    ///
    /// # Errors
    /// As in [`Access::new`]; then the keys stay as they were.
    pub(super) fn reload(&self) -> Result<(), Error> {
        let Some(path) = &self.options.key_file else { return Ok(()) };
        // Before it is read: what changes meanwhile is seen next time.
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = stamp(path);
        let entries = file::read(path)?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let mut old: HashMap<&str, &Arc<Key>> = keys.iter().map(|key| (key.name(), key)).collect();
        let renew = |entry: file::Entry| match old.remove(entry.name.as_str()) {
            Some(key) => Key::renewed(key, entry),
            None => Key::new(entry),
        };
        let new: Arc<[Arc<Key>]> = entries.into_iter().map(renew).collect();
        old.values().for_each(|key| key.revoke());
        *keys = new;
        Ok(())
    }

    /// Looks at the key file now and then, for as long as it is polled, and reads it anew when it has changed.
    pub(super) async fn watch(&self) {
        let Some(path) = &self.options.key_file else { return std::future::pending().await };
        loop {
            tokio::time::sleep(LOOK).await;
            if !self.has_changed(path) {
                continue;
            }
            match self.reload() {
                Ok(()) => tracing::info!(keys = self.keys().len(), "the key file was read anew"),
                Err(error) => tracing::error!("the keys stay as they were: {error}"),
            }
        }
    }

    fn has_changed(&self, path: &Path) -> bool {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) != stamp(path)
    }

    /// Whether nobody gets in without a key.
    pub(super) fn wants_key(&self) -> bool {
        self.options.key_file.is_some()
    }

    /// The key with this text. It takes the same time whichever it is, and whether there is one.
    pub(super) fn authenticate(&self, token: &str) -> Option<Arc<Key>> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let keys = self.keys();
        let mut found = 0_u64;
        // From 1 on; 0 is none.
        for (number, key) in (1_u64..).zip(keys.iter()) {
            let same: Choice = key.hash().ct_eq(&hash);
            found.conditional_assign(&number, same);
        }
        let index = usize::try_from(found.checked_sub(1)?).ok()?;
        keys.get(index).cloned()
    }

    /// Who asks, by the head of a request. Where a key is wanted and none is there, a WebSocket may still give it in its
    /// first message: [`Client::key`] is `None` then.
    ///
    /// # Errors
    /// `UNAUTHORIZED` for a wrong key, after which [`WRONG_KEY_PAUSE`] is due, and `FORBIDDEN_ORIGIN`.
    pub(super) fn client(&self, headers: &HeaderMap, peer: IpAddr) -> Result<Client, Failure> {
        let token = bearer(headers).or_else(|| subprotocol(headers)).filter(|_| self.wants_key());
        let key = match token {
            Some(token) => Some(self.authenticate(token).ok_or_else(wrong_key)?),
            None => None,
        };
        self.check_origin(headers, key.is_some())?;
        Ok(Client { key, peer: proxy::client(headers, peer, &self.options.proxies) })
    }

    /// Whether the web page that asks, if it is one, may do so.
    ///
    /// # Errors
    /// `FORBIDDEN_ORIGIN`.
    pub(super) fn check_origin(&self, headers: &HeaderMap, has_key: bool) -> Result<(), Failure> {
        let mut values = headers.get_all(header::ORIGIN).iter();
        let Some(value) = values.next() else { return Ok(()) };
        let origin = parsed(value).filter(|_| values.next().is_none());
        if origin.is_some_and(|origin| self.allows(&origin, headers.get(header::HOST), has_key)) {
            return Ok(());
        }
        Err(Failure::new(
            Code::ForbiddenOrigin,
            "pages of this origin may not use this server; --allow-origin lets them",
        ))
    }

    fn allows(&self, origin: &Origin, host: Option<&HeaderValue>, has_key: bool) -> bool {
        if self.is_listed(origin) {
            return true;
        }
        if origin.is_null() {
            return self.options.loopback || has_key;
        }
        // A name of somebody else's that has come to mean this machine would pass for its own origin.
        let only_here = !self.wants_key() && self.options.loopback && !self.options.allow_anonymous;
        let host = host.and_then(|host| host.to_str().ok());
        host.is_some_and(|host| origin.is_of(host)) && (!only_here || origin.is_loopback())
    }

    fn is_listed(&self, origin: &Origin) -> bool {
        self.options.origins.iter().any(|listed| listed.covers(origin))
    }

    /// Whether a page of this origin may read the answers of the HTTP API: those of the list alone.
    pub(super) fn allows_cors(&self, origin: &HeaderValue) -> bool {
        parsed(origin).is_some_and(|origin| self.is_listed(&origin))
    }
}

fn parsed(origin: &HeaderValue) -> Option<Origin> {
    origin.to_str().ok()?.parse().ok()
}

/// What somebody with a wrong key is told.
pub(super) fn wrong_key() -> Failure {
    Failure::new(Code::Unauthorized, "this key is not valid")
}

/// What somebody without a key is told.
pub(super) fn no_key() -> Failure {
    let message = "this server wants a key: as `Authorization: Bearer KEY`, as the WebSocket subprotocols \
                   `imesli, imesli.key.KEY`, or as the first message, {\"type\": \"auth\", \"key\": \"KEY\"}";
    Failure::new(Code::Unauthorized, message)
}

/// Whose something is: a key's name, or nobody's in particular.
pub(super) type Owner = Option<Arc<str>>;

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Client {
    /// `None` where none is wanted, and before it was given.
    pub(super) key: Option<Arc<Key>>,
    /// Their address: behind a proxy that is trusted, the one that it says.
    pub(super) peer: IpAddr,
}

impl Client {
    /// Those who share what there is: everybody with the same key, else everybody at the same address. For IPv6 that is
    /// the network of 64 bits, all of which one machine may have.
    pub(super) fn group(&self) -> String {
        if let Some(key) = &self.key {
            return format!("key:{}", key.name());
        }
        match self.peer.to_canonical() {
            IpAddr::V4(address) => format!("ip:{address}"),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                format!("ip:{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        }
    }

    /// Whose uploads and streams theirs are.
    pub(super) fn owner(&self) -> Owner {
        self.key.as_ref().map(|key| key.shared_name())
    }

    /// Whether they had a key that is valid no more.
    pub(super) fn is_revoked(&self) -> bool {
        self.key.as_ref().is_some_and(|key| key.is_revoked())
    }

    /// Counts a job, until what is given is dropped; `None` for who has no key, and so no limits.
    ///
    /// # Errors
    /// As [`Key::begin`].
    pub(super) fn begin(&self) -> Result<Option<Running>, Failure> {
        self.key.as_ref().map(Key::begin).transpose()
    }
}

#[cfg(test)]
mod tests;
