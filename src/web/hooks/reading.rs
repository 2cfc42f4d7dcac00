//! A body from its first byte until it is known who sent it. Until then little of it is kept, and it is digested as it
//! comes. Absent: who gives way to whom (see [`super::unproven`]).

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use tokio::time::Instant;

use super::room::Kept;
use super::unproven::{BEGINNING_BYTES, Listening};
use super::{Door, MOST_BODY_BYTES, Problem, auth, broken_off, gave_way, late, too_long};
use crate::config::WebhookSource;
use crate::intake::signature::Verifier;
use crate::web::body::{announced_length, next};
use crate::web::place;
use crate::web::remote::Remote;

/// The most that is read of a body to learn who sent it: that it was the right sender comes before that it is too
/// long.
const MOST_JUDGED_BYTES: usize = 2 * MOST_BODY_BYTES;

/// A body of the right sender, as it was sent, with the room that it takes.
pub(super) struct Proven<'d> {
    pub(super) bytes: Vec<u8>,
    pub(super) room: Kept<'d>,
}

/// The body of a sender that has proven itself by the head of its request. Only what is longer than a beginning takes room
/// while it comes: slow senders of little keep nobody waiting.
pub(super) async fn of_known<'d>(
    door: &'d Door,
    source: &WebhookSource,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<Proven<'d>, Problem> {
    if announced_length(headers).is_some_and(|length| length > MOST_BODY_BYTES as u64) {
        return Err(too_long());
    }
    let (mut bytes, mut room) = (Vec::new(), None);
    let mut deadline = Instant::now() + door.body_timeout;
    while let Some(piece) = tokio::time::timeout_at(deadline, next(body)).await.map_err(|_| late())? {
        let piece = piece.map_err(|_| broken_off())?;
        if piece.len() > MOST_BODY_BYTES - bytes.len() {
            return Err(too_long());
        }
        bytes.extend_from_slice(&piece);
        if room.is_none() && bytes.len() > BEGINNING_BYTES {
            let since = Instant::now();
            room = Some(door.room.take(&source.name).await?);
            deadline += since.elapsed();
        }
    }
    door.proven(source, bytes, room).await
}

/// The body of a sender that proves itself by a signature of it.
pub(super) async fn of_signed<'d>(
    door: &'d Door,
    source: &WebhookSource,
    verifier: Verifier,
    head: &Parts,
    body: &mut Body,
) -> Result<Proven<'d>, Problem> {
    let extensions = &head.extensions;
    let announced = announced_length(&head.headers);
    if announced.is_some_and(|length| length > MOST_JUDGED_BYTES as u64) {
        return Err(too_long());
    }
    let network = network(extensions);
    // What was proven on this connection may be another source's token or a reader's: it speaks for no sender.
    let listening = door.unproven.listen(&source.name, network, false);
    let mut signed = Unjudged::new(&listening, Some(verifier), announced);
    signed.read(body, door.body_timeout).await?;
    let Unjudged { verifier, bytes, length, .. } = signed;
    if !verifier.is_some_and(Verifier::fits) {
        return Err(auth::unauthorized(&source.auth));
    }
    network.into_iter().for_each(|network| door.unproven.is_good(&source.name, network));
    place::is_proven(extensions);
    if length > MOST_BODY_BYTES {
        return Err(too_long());
    }
    // It goes over into the room of the proven.
    door.proven(source, bytes, None).await
}

/// A body whose proof stands in it, and who has to be listened to for as long as it is looked for.
pub(super) struct Claimed<'d> {
    pub(super) bytes: Vec<u8>,
    _listening: Listening<'d>,
}

/// The body of a sender whose proof stands in the body itself, of at most `most` bytes.
pub(super) async fn of_claimed<'d>(
    door: &'d Door,
    source: &WebhookSource,
    head: &Parts,
    body: &mut Body,
    (most, timeout): (usize, Duration),
) -> Result<Claimed<'d>, Option<Problem>> {
    let announced = announced_length(&head.headers);
    if announced.is_some_and(|length| length > most as u64) {
        return Err(None);
    }
    let listening = door.unproven.listen(&source.name, network(&head.extensions), false);
    let mut claimed = Unjudged::new(&listening, None, announced.or(Some(most as u64)));
    claimed.most = most;
    let read = claimed.read(body, timeout).await;
    let (bytes, length) = (claimed.bytes, claimed.length);
    if length > most {
        return Err(None);
    }
    read.map_err(Some)?;
    Ok(Claimed { bytes, _listening: listening })
}

/// Remembers that a sender whose proof stood in the body is who it has to be.
pub(super) fn was_good(door: &Door, source: &WebhookSource, head: &Parts) {
    network(&head.extensions).into_iter().for_each(|network| door.unproven.is_good(&source.name, network));
    place::is_proven(&head.extensions);
}

impl Door {
    /// A whole body, with room until it is stored.
    async fn proven<'d>(
        &'d self,
        source: &WebhookSource,
        bytes: Vec<u8>,
        room: Option<Kept<'d>>,
    ) -> Result<Proven<'d>, Problem> {
        let room = match room {
            Some(room) => room,
            None if bytes.len() > BEGINNING_BYTES => self.room.take(&source.name).await?,
            None => self.room.take_little().await?,
        };
        Ok(Proven { bytes, room })
    }
}

fn network(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<Remote>>().map(|ConnectInfo(remote)| remote.network())
}

/// A body of which is still to be judged who sent it.
struct Unjudged<'l> {
    listening: &'l Listening<'l>,
    /// What judges it as it comes; nothing where the proof stands in the body.
    verifier: Option<Verifier>,
    /// The most that is read of it.
    most: usize,
    /// Nothing once it is known to be too long.
    bytes: Vec<u8>,
    length: usize,
    has_place: bool,
    announced: Option<u64>,
}

impl<'l> Unjudged<'l> {
    const fn new(listening: &'l Listening<'l>, verifier: Option<Verifier>, announced: Option<u64>) -> Self {
        let most = MOST_JUDGED_BYTES;
        Self { listening, verifier, most, bytes: Vec::new(), length: 0, has_place: false, announced }
    }

    /// Reads all of it.
    async fn read(&mut self, body: &mut Body, timeout: Duration) -> Result<(), Problem> {
        match tokio::time::timeout(timeout, self.pieces(body)).await {
            Ok(read) => read,
            Err(_) if self.wants_place() => Err(gave_way()),
            Err(_) => Err(late()),
        }
    }

    async fn pieces(&mut self, body: &mut Body) -> Result<(), Problem> {
        loop {
            let piece = tokio::select! {
                () = self.listening.gives_way() => return Err(gave_way()),
                piece = next(body) => piece,
            };
            let Some(piece) = piece else { return Ok(()) };
            self.take(&piece.map_err(|_| broken_off())?).await?;
        }
    }

    async fn take(&mut self, piece: &[u8]) -> Result<(), Problem> {
        self.length = self.length.saturating_add(piece.len());
        if self.length > self.most {
            return Err(too_long());
        }
        if self.wants_place() {
            self.listening.place(self.wanted_bytes()).await.map_err(|_| gave_way())?;
            self.has_place = true;
        }
        self.listening.came(piece.len());
        if let Some(verifier) = &mut self.verifier {
            verifier.update(piece);
        }
        match self.length > MOST_BODY_BYTES {
            true => self.bytes = Vec::new(),
            false => self.bytes.extend_from_slice(piece),
        }
        Ok(())
    }

    const fn wants_place(&self) -> bool {
        !self.has_place && self.length > BEGINNING_BYTES
    }

    /// What is kept of it at most.
    fn wanted_bytes(&self) -> usize {
        let announced = self.announced.and_then(|length| usize::try_from(length).ok());
        match announced.unwrap_or(MOST_BODY_BYTES) {
            too_long if too_long > MOST_BODY_BYTES => 0,
            bytes => bytes,
        }
    }
}
