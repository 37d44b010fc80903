//! Shares and times as people read them.

/// With as many digits as tell the downtime to two places: `99.98%`, `99.99962%`. Never 100% while something is lost.
pub fn percent(share: f64) -> String {
    let lost = (1.0 - share) * 100.0;
    if lost <= 0.0 {
        return "100%".into();
    }
    let digits = (1.0 - lost.log10().floor()).clamp(2.0, 9.0) as usize;
    let text = format!("{:.digits$}", share * 100.0);
    // A target is written as it was: 99.9% and not 99.90%.
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "100" { "more than 99.999999%".into() } else { format!("{text}%") }
}

/// Seconds in the two largest units: `4m 19s`, `1.3s`, `none`.
pub fn span(seconds: f64) -> String {
    if seconds < 0.05 {
        return "none".into();
    }
    if seconds < 10.0 {
        return format!("{seconds:.1}s");
    }
    let s = seconds.round() as u64;
    let units = [("d", s / 86_400), ("h", s / 3600 % 24), ("m", s / 60 % 60), ("s", s % 60)];
    let shown = units.into_iter().skip_while(|(_, n)| *n == 0).take(2).filter(|(_, n)| *n > 0);
    shown.map(|(unit, n)| format!("{n}{unit}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downtime_is_told_to_two_places() {
        let shown = [0.99, 0.999, 0.9999, 0.99982, 0.999_812_34, 0.999_996_2, 1.0, 1.0 - 1e-13].map(percent);
        let wanted = ["99%", "99.9%", "99.99%", "99.982%", "99.981%", "99.99962%", "100%", "more than 99.999999%"];
        assert_eq!(shown, wanted);
    }

    #[test]
    fn times_have_two_units() {
        let shown = [0.0, 1.26, 52.0, 259.2, 3600.0, 31_536.0, 90_061.0].map(span);
        assert_eq!(shown, ["none", "1.3s", "52s", "4m 19s", "1h", "8h 45m", "1d 1h"]);
    }
}
