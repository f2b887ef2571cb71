//! What runs on one socket: streams of answers, looked at in turn. Nothing is taken out of them before the socket has
//! room for it, so that nothing waits here.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use async_graphql::{Request, parser::types::OperationType};
use futures_util::stream::{BoxStream, StreamExt, once};

use super::{GraphQl, answer::Answer, execute, schema::Asker};

/// One operation.
struct Operation {
    id: String,
    follows: bool,
    /// Something came of it.
    begun: bool,
    answers: BoxStream<'static, Answer>,
}

/// What came of one.
#[derive(Debug)]
pub(super) enum Came {
    /// A result; `event` if it is one of a subscription.
    Next { id: String, answer: Answer, event: bool },
    /// It was not executed, and is over.
    Refused { id: String, answer: Answer },
    /// It is over.
    Complete { id: String },
}

/// All of them, the one whose turn it is at the front.
#[derive(Default)]
pub(super) struct Operations(VecDeque<Operation>);

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Operations({})", self.0.len())
    }
}

impl Operations {
    /// Begins one.
    pub(super) fn begin(
        &mut self,
        graphql: &Arc<GraphQl>,
        id: String,
        (kind, request): (OperationType, Request),
        asker: Asker,
    ) {
        let follows = kind == OperationType::Subscription;
        let answers = if follows {
            graphql.schema.execute_stream(request.data(asker)).map(Answer::from).boxed()
        } else {
            let graphql = graphql.clone();
            once(async move {
                match execute(&graphql, request, asker).await {
                    Ok(answer) => answer,
                    Err(error) => Answer::refused(&error),
                }
            })
            .boxed()
        };
        self.0.push_back(Operation { id, follows, begun: false, answers });
    }

    /// Ends one without a word.
    pub(super) fn end(&mut self, id: &str) {
        self.0.retain(|operation| operation.id != id);
    }

    /// What comes next of any; never, if there is none.
    ///
    /// # Cancel safety
    /// Nothing is lost: what is taken out is returned at once.
    pub(super) async fn next(&mut self) -> Came {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Came> {
        for _ in 0..self.0.len() {
            let Some(mut operation) = self.0.pop_front() else { break };
            let Poll::Ready(answer) = operation.answers.poll_next_unpin(cx) else {
                self.0.push_back(operation);
                continue;
            };
            let Some(answer) = answer else { return Poll::Ready(Came::Complete { id: operation.id }) };
            if !operation.begun && answer.has_nothing() && (operation.follows || answer.is_refusal()) {
                return Poll::Ready(Came::Refused { id: operation.id, answer });
            }
            operation.begun = true;
            let (id, event) = (operation.id.clone(), operation.follows);
            self.0.push_back(operation);
            return Poll::Ready(Came::Next { id, answer, event });
        }
        Poll::Pending
    }
}
