//! Asking for memory before it is needed. With a thousand streams each packet finds its stream's state fallen out of the
//! caches; fetched while the kernel hands the packet over, it costs nothing.
#![expect(unsafe_code, reason = "a prefetch takes a pointer")]

/// A cache line on all processors we know, in octets. On one with longer lines some requests are idle.
const LINE: usize = 64;

/// Asks for all of a value.
pub fn prefetch<T>(value: &T) {
    let start = std::ptr::from_ref(value).cast::<u8>();
    for offset in (0..size_of::<T>()).step_by(LINE) {
        line(start.wrapping_add(offset));
    }
}

#[cfg(target_arch = "x86_64")]
fn line(address: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a hint; it neither reads nor faults, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
}

#[cfg(target_arch = "aarch64")]
fn line(address: *const u8) {
    // SAFETY: a hint; it neither reads nor faults, whatever the address.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn line(_: *const u8) {}
