//! One way to call a use case, wherever the data is.

use crate::{
    api::error::Error,
    client::remote::{Origins, ServerClient},
    instance::{
        control::{
            client::SocketClient,
            dispatch::Local,
            request::{ControlRequest, ControlResponse},
        },
        open::{Instance, Opened},
    },
    service::{caller::Caller, idempotency::Operation},
};

/// The use cases, wherever the store is.
#[derive(Clone)]
pub enum Backend {
    /// This process holds it.
    Local(Local),
    /// Another process of this user does.
    Socket(SocketClient),
    /// A server elsewhere does.
    Server(ServerClient),
}

impl Backend {
    /// For the calls of one request whose credential this process verified just now.
    pub fn for_caller(&self, caller: Caller) -> Self {
        match self {
            Self::Local(here) => Self::Local(here.for_caller(caller)),
            elsewhere => elsewhere.clone(),
        }
    }

    /// Makes a call, wherever it is carried out. Elsewhere it is sent again when the connection was cut off, and done once.
    ///
    /// # Errors
    /// The use case's own, as it travelled; [`Error::Unreachable`] when nobody answered.
    pub async fn call(&self, call: ControlRequest) -> Result<ControlResponse, Error> {
        match self {
            // What is boxed is as large as the largest of the calls; this one is made all the time.
            Self::Local(here) => match call {
                ControlRequest::CheckScope { credential, scopes, environment } => here.check_scope(&credential, &scopes, environment).await,
                call => Box::pin(call.run(here, Operation::default())).await,
            },
            Self::Socket(client) => client.call(&call).await,
            Self::Server(client) => client.call(&call).await,
        }
    }

    /// Where keys come from and where they go.
    pub async fn origins(&self) -> Result<Origins, Error> {
        match self {
            Self::Server(client) => client.origins().await,
            here => match here.call(ControlRequest::Status).await? {
                ControlResponse::Status(standing) => Ok(Origins { server: standing.url, api: standing.api }),
                _ => Err(Error::internal("the owner answered something else")),
            },
        }
    }
}

impl Opened {
    /// The use cases of this process, or those of the process that has the directory.
    pub fn backend(&self) -> Backend {
        match self {
            Self::Mine(mine) => mine.backend(),
            Self::Theirs(theirs) => Backend::Socket(theirs.client.clone()),
        }
    }
}

impl Instance {
    /// The use cases of this process.
    pub fn backend(&self) -> Backend {
        Backend::Local(self.local())
    }
}
