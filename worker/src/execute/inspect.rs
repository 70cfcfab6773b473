//! InspectCluster: what planning needs to know of a cluster.

use ringvault_proto::{error::Failure, v1};

use super::Context;
use crate::cql;

pub(super) async fn inspect(
    context: &Context,
    assignment: &v1::Assignment,
    work: v1::InspectCluster,
) -> Result<(), Failure> {
    let cluster = context.places.cluster(&assignment.cluster).await?;
    let inspected = cql::inspect::inspect(&cluster, &work).await?;
    context
        .reporter
        .complete(|request| {
            request.inspected = Some(inspected);
            request.ended = true;
        })
        .await
}
