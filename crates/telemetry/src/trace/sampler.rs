//! The decision whether a new trace is sampled.

/// Returns whether a trace is among the fraction `ratio` of all traces. The result depends on the id alone, so every process
/// with the same ratio decides alike. This is the sampler `TraceIdRatioBased` of OpenTelemetry.
pub fn is_sampled(trace_id: u128, ratio: f64) -> bool {
    const RANGE: f64 = (1_u64 << 63) as f64;
    let low_bits = trace_id as u64 >> 1;
    // The rounding of the id is far below what a ratio can express.
    ratio >= 1.0 || (low_bits as f64) < ratio * RANGE
}
