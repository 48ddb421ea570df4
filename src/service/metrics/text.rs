//! Prometheus' text format 0.0.4, written line by line.

use std::fmt::Write as _;
use std::time::Duration;

use crate::domain::histogram::Histogram;

/// A page that grows.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    /// What the samples that follow are.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One value.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.line(name, labels, &value.to_string());
    }

    /// All lines of a histogram; `shown` turns its unit into that of the name.
    pub(super) fn histogram(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        histogram: &Histogram,
        shown: fn(u64) -> String,
    ) {
        let bounds = histogram.bounds().iter().map(|bound| shown(*bound));
        let mut count = 0;
        for (bound, below) in bounds.chain(["+Inf".to_owned()]).zip(histogram.cumulated()) {
            let labels = [labels, &[("le", bound.as_str())]].concat();
            self.line(&format!("{name}_bucket"), &labels, &below.to_string());
            count = below;
        }
        self.line(&format!("{name}_sum"), labels, &shown(histogram.sum()));
        self.line(&format!("{name}_count"), labels, &count.to_string());
    }

    /// Values of labels are names of the code: letters, digits, dots and underscores, so nothing needs escaping.
    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: &str) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{before}{label}=\"{text}\"");
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    /// The page.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Microseconds as seconds.
pub(super) fn seconds(micros: u64) -> String {
    Duration::from_micros(micros).as_secs_f64().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_is_written_bucket_by_bucket_with_sum_and_count() {
        let histogram = Histogram::new(&[10, 20]);
        for value in [1, 10, 11, 20, 21] {
            histogram.record(value);
        }
        let mut text = Text::default();
        text.histogram("x", &[("a", "b")], &histogram, |value| value.to_string());

        let expected = "x_bucket{a=\"b\",le=\"10\"} 2\nx_bucket{a=\"b\",le=\"20\"} 4\n\
                        x_bucket{a=\"b\",le=\"+Inf\"} 5\nx_sum{a=\"b\"} 63\nx_count{a=\"b\"} 5\n";
        assert_eq!(text.finish(), expected);
    }
}
