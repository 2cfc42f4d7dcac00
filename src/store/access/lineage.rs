//! Who made whose token: whoever asked for an action does not approve it with any token of theirs.
//!
//! People are told apart by their names, whichever door they came in by. Two tokens that one token made are in the same
//! hands. Two that a user of this machine made are not: somebody has to make the first ones.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{Row, SqliteConnection};

use crate::model::{By, Person};
use crate::store::Result;

/// How many makers are looked at. Whoever has more is taken for everybody else: no honest store comes near.
const MOST: usize = 1_000;

/// A person as the store knows them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) struct Identity {
    /// In lower case: no other person has a name that differs in case alone.
    name: String,
    /// The id of their token, if it was one.
    token: Option<String>,
}

impl Identity {
    /// Who asks now.
    pub(in crate::store) fn of(person: &Person) -> Self {
        let token = person.door.token().map(|id| id.to_string());
        Self { name: person.name.to_lowercase(), token }
    }

    /// Who is stored as `by`. Schemas before 14 kept the bare name.
    pub(in crate::store) fn stored(by: &str, token: Option<String>) -> Self {
        Self { name: By::person_in(by).unwrap_or(by).to_lowercase(), token }
    }
}

/// Whoever is above a person: who made their token, who made that one's, and so on. The name, and whether a token has
/// it.
type Makers = BTreeMap<String, bool>;

/// Why `person` is not somebody else than who asked; `None` when they are two people.
pub(in crate::store) async fn not_another(
    tx: &mut SqliteConnection,
    asker: &Identity,
    person: &Person,
) -> Result<Option<String>> {
    let (who, name) = (&asker.name, &person.name);
    let own = Identity::of(person);
    if asker.name == own.name {
        return Ok(Some(format!("{name} asked for it")));
    }
    let (of_asker, of_own) = (makers(tx, asker).await?, makers(tx, &own).await?);
    if of_own.contains_key(&asker.name) {
        return Ok(Some(format!("{who} asked for it, and the token {name} comes from {who}")));
    }
    if of_asker.contains_key(&own.name) {
        return Ok(Some(format!("{who} asked for it, and the token {who} comes from {name}")));
    }
    let both = of_asker.iter().find(|(maker, by_token)| **by_token && of_own.get(*maker) == Some(&true));
    if let Some((maker, _)) = both {
        return Ok(Some(format!("{who} asked for it, and both {who} and {name} come from the token {maker}")));
    }
    let is_endless = of_asker.len() >= MOST || of_own.len() >= MOST;
    Ok(is_endless.then(|| format!("{who} asked for it, and too many tokens lie between {who} and {name}")))
}

async fn makers(tx: &mut SqliteConnection, of: &Identity) -> Result<Makers> {
    let (mut makers, mut seen, mut next) = (Makers::new(), BTreeSet::new(), vec![of.clone()]);
    while let Some(made) = next.pop() {
        // A user of this machine and a token of the same name are taken for one person.
        let rows = sqlx::query(
            "SELECT t.created_by, t.created_by_token,
                    EXISTS (SELECT 1 FROM tokens m WHERE m.name = lower(substr(t.created_by, instr(t.created_by, ':') + 1)))
                        AS named_like_one
             FROM tokens t WHERE CASE WHEN ?1 IS NULL THEN t.name = ?2 ELSE t.id = ?1 END",
        )
        .bind(&made.token)
        .bind(&made.name)
        .fetch_all(&mut *tx)
        .await?;
        for row in &rows {
            let maker = Identity::stored(row.try_get("created_by")?, row.try_get("created_by_token")?);
            let by_token = maker.token.is_some() || row.try_get("named_like_one")?;
            *makers.entry(maker.name.clone()).or_default() |= by_token;
            if makers.len() < MOST && seen.insert(maker.clone()) {
                next.push(maker);
            }
        }
    }
    Ok(makers)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::{Door, Role, SecretHash, TokenId, TokenName};
    use crate::store::{NewToken, Store};

    struct House {
        store: Store,
        _folder: tempfile::TempDir,
    }

    impl House {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            Self { store: Store::open(&folder.path().join("stanch.db")).await.unwrap(), _folder: folder }
        }

        /// A token that `by` makes, and its holder.
        async fn token(&self, name: &str, by: &Person) -> Person {
            let (hash, name) = (SecretHash::from_digest(name.as_bytes()), TokenName::new(name).unwrap());
            let new = NewToken { name: &name, role: Role::Admin, hash: &hash, expires_at: Timestamp::MAX };
            let made = self.store.create_token(&new, &By::User(by.clone()), "x", Timestamp::UNIX_EPOCH).await.unwrap();
            Person { name: name.to_string(), door: Door::Token(Some(made.id)), from: None }
        }

        async fn refusal(&self, asker: &Person, person: &Person) -> Option<String> {
            let mut tx = self.store.begin().await.unwrap();
            let refusal = not_another(&mut tx, &Identity::of(asker), person).await.unwrap();
            tx.rollback().await;
            refusal
        }
    }

    fn user(name: &str) -> Person {
        Person { name: name.to_owned(), door: Door::Socket, from: None }
    }

    #[tokio::test]
    async fn nobody_is_another_by_a_token_of_their_own() {
        let house = House::new().await;
        let (root, eve) = (user("root"), user("eve"));
        let (ana, bob) = (house.token("ana", &root).await, house.token("bob", &root).await);
        let anas = house.token("anas", &ana).await;
        let anas_anas = house.token("anas-anas", &anas).await;
        let anas_second = house.token("anas-second", &ana).await;
        let bobs = house.token("bobs", &bob).await;
        for (one, other, why) in [
            (&ana, &ana, "ana asked for it"),
            (&ana, &user("ANA"), "ANA asked for it"),
            (&ana, &anas, "the token anas comes from ana"),
            (&ana, &anas_anas, "the token anas-anas comes from ana"),
            (&anas_anas, &ana, "the token anas-anas comes from ana"),
            (&root, &anas_anas, "the token anas-anas comes from root"),
            (&bob, &root, "the token bob comes from root"),
            (&anas, &anas_second, "both anas and anas-second come from the token ana"),
            (&anas_anas, &anas_second, "both anas-anas and anas-second come from the token ana"),
        ] {
            let refusal = house.refusal(one, other).await;
            assert!(refusal.as_ref().is_some_and(|words| words.ends_with(why)), "{one} and {other}: {refusal:?}");
        }
        for (one, other) in [(&ana, &bob), (&bob, &ana), (&anas_anas, &bobs), (&eve, &ana), (&ana, &eve), (&eve, &root)]
        {
            assert_eq!(house.refusal(one, other).await, None, "{one} and {other}");
        }
    }

    #[tokio::test]
    async fn what_older_programs_kept_is_taken_for_the_person_of_that_name() {
        let house = House::new().await;
        let ana = house.token("ana", &user("root")).await;
        // Before schema 14 a token made by the token ana was made by `user:ana`.
        let old = house.token("old", &user("ana")).await;
        assert!(house.refusal(&old, &ana).await.is_some());
        assert!(house.refusal(&user("root"), &old).await.is_some());
        let mut tx = house.store.begin().await.unwrap();
        let bare = Identity::stored("ana", None);
        assert!(not_another(&mut tx, &bare, &old).await.unwrap().is_some());
        assert!(not_another(&mut tx, &bare, &user("bob")).await.unwrap().is_none());
        tx.rollback().await;
    }

    #[tokio::test]
    async fn tokens_that_made_each_other_end_the_search() {
        let house = House::new().await;
        let (ana, bob) = (house.token("ana", &user("root")).await, house.token("bob", &user("root")).await);
        let id = |person: &Person| person.door.token().map(|id: TokenId| id.to_string());
        let mut tx = house.store.begin().await.unwrap();
        for (one, other) in [(&ana, &bob), (&bob, &ana)] {
            sqlx::query("UPDATE tokens SET created_by = ?2, created_by_token = ?3 WHERE id = ?1")
                .bind(id(one))
                .bind(other.to_string())
                .bind(id(other))
                .execute(&mut *tx)
                .await
                .unwrap();
        }
        assert!(not_another(&mut tx, &Identity::of(&ana), &bob).await.unwrap().is_some());
        tx.rollback().await;
    }
}
