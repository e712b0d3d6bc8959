//! Leases: work that one process at a time does.

use diesel::prelude::*;
use entrepot_kit::Timestamp;

use super::Conn;
use crate::store::catalog::failure::QueryResult;
use crate::store::catalog::schema::leases;

/// Takes or prolongs a lease; `false` while another holder has it.
pub(crate) fn take(connection: &mut Conn, name: &str, holder: &str, now: Timestamp, until: Timestamp) -> QueryResult<bool> {
    // Two statements, each atomic: an existing row is taken over only from its own holder or after its end.
    let mine = leases::table.filter(leases::name.eq(name)).filter(leases::holder.eq(holder).or(leases::until.le(now.0)));
    let taken = diesel::update(mine).set((leases::holder.eq(holder), leases::until.eq(until.0))).execute(connection)?;
    if taken > 0 {
        return Ok(true);
    }
    let row = (leases::name.eq(name), leases::holder.eq(holder), leases::until.eq(until.0));
    Ok(diesel::insert_into(leases::table).values(row).on_conflict_do_nothing().execute(connection)? > 0)
}

/// Gives a lease back.
pub(crate) fn give_back(connection: &mut Conn, name: &str, holder: &str) -> QueryResult<()> {
    diesel::delete(leases::table.filter(leases::name.eq(name)).filter(leases::holder.eq(holder))).execute(connection)?;
    Ok(())
}
