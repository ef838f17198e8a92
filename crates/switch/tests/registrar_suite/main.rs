//! Registrar and gate as call control sees them: literal messages in, answers, facts and targets out, in virtual time.

mod gate;
mod gruu;
mod memory;
mod model;
mod outbound;
mod path_and_push;
mod reach;
mod restart;
mod rfc3261;
mod stage;
