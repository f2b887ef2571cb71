//! Tokens of programs, at the gate: made, withdrawn, and kept.

use super::*;

impl Gate {
    /// Tokens of programs are kept here.
    pub fn set_shelf(&self, shelf: Box<dyn TokenShelf>) {
        // Whoever comes second is not the start.
        let _ = self.shelf.0.set(shelf);
    }

    /// These are the tokens of programs from now on, and when each was last shown, in milliseconds since 1970. What those
    /// opened that are gone ends.
    pub fn set_api_tokens(&self, tokens: Vec<ApiToken>, used: &HashMap<String, i64>) {
        self.logins.set_api_tokens(tokens, used);
    }

    /// Makes a token for programs of somebody who is known by a password or a login; its text comes back, once.
    ///
    /// # Errors
    /// [`Kind::PermissionDenied`]: known otherwise; [`Kind::InvalidArgument`]; too many; it cannot be kept.
    pub async fn add_api_token(
        &self,
        known: &Standing,
        name: &str,
        permissions: Option<Vec<PermissionConfig>>,
        until: Option<WallTime>,
        now: WallTime,
    ) -> Result<(ApiToken, Secret)> {
        let _turn = self.making.lock().await;
        let (token, text) = self.logins.make_api_token(known, name, permissions, until, now)?;
        self.keep(&token.id, Some(token.to_stored())).await?;
        self.logins.add_api_token(token.clone());
        Ok((token, text))
    }

    /// Withdraws a token of a program, which comes back: what it opened ends.
    ///
    /// # Errors
    /// As [`Gate::api_tokens`]; [`Kind::NotFound`]: there is none of this id that is theirs; it cannot be written down.
    pub async fn remove_api_token(&self, known: &Standing, id: &str) -> Result<ApiToken> {
        let Some(seen) = self.logins.api_tokens(known)?.into_iter().find(|seen| seen.token.id == id) else {
            let message = "there is no such token";
            return Err(Error::new(Kind::NotFound, message).with_code("token_not_found"));
        };
        self.keep(id, None).await?;
        self.logins.remove_api_token(id);
        Ok(seen.token)
    }

    /// The tokens of programs that somebody may see and withdraw, by id: their own; all of them, for an admin.
    ///
    /// # Errors
    /// [`Kind::PermissionDenied`]: known otherwise than by a password or a login.
    pub fn api_tokens(&self, known: &Standing) -> Result<Vec<ApiTokenSeen>> {
        self.logins.api_tokens(known)
    }

    /// All tokens of programs, for whoever writes down when they were shown.
    pub fn api_tokens_used(&self) -> Vec<ApiTokenSeen> {
        self.logins.api_tokens_used()
    }

    async fn keep(&self, id: &str, token: Option<String>) -> Result<()> {
        let missing = || Error::new(Kind::Unavailable, "tokens cannot be kept").with_code("store_unavailable");
        self.shelf.0.get().ok_or_else(missing)?.put(id.to_owned(), token).await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::{FutureExt, join_all};

    use super::*;
    use crate::{auth::testing::cheap_user, base::Clock};

    /// A shelf that takes its time.
    struct Slow;

    impl TokenShelf for Slow {
        fn put(&self, _: String, _: Option<String>) -> BoxFuture<'static, Result<()>> {
            async {
                tokio::task::yield_now().await;
                Ok(())
            }
            .boxed()
        }
    }

    #[tokio::test]
    async fn those_who_ask_at_the_same_time_get_no_more_tokens_than_may_be() {
        let gate = Gate::default();
        gate.set_shelf(Box::new(Slow));
        gate.set_users(vec![cheap_user("anna", "password", &[])], &BTreeMap::new());
        let (shown, now) = (Credential::of_password("anna", "password").unwrap(), Clock.moment());
        let identity = gate.identify(&shown, [10, 0, 0, 9].into(), now).await.unwrap();
        let Identity::Known(anna) = identity else { panic!("anna is known") };
        let made = join_all((0..60).map(|_| gate.add_api_token(&anna, "bell", None, None, now.wall))).await;
        assert_eq!((made.iter().filter(|made| made.is_ok()).count(), gate.api_tokens(&anna).unwrap().len()), (50, 50));
    }
}
