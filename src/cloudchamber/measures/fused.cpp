// Mean cosines of many vectors, each read from memory once: its length, and then its share of the sum of its class
// while it lies in the cache (the slow twin is partials.py); and how often outputs are right (accuracy.py).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

namespace {

constexpr std::int64_t worth_threads = 1 << 16;
constexpr std::int64_t lanes = 16;    // sums side by side, so that none waits for the one before
constexpr std::int64_t block = 4096;  // so many squares are added up in the precision of the vectors

template <typename Sum, typename Real>
double squares(const Real* row, std::int64_t width) {
    Sum sums[lanes] = {};
    std::int64_t at = 0;
    for (; at + lanes <= width; at += lanes)
        for (std::int64_t lane = 0; lane < lanes; ++lane) {
            const Sum each = row[at + lane];
            sums[lane] += each * each;
        }
    for (; at < width; ++at) sums[at % lanes] += static_cast<Sum>(row[at]) * row[at];
    return std::accumulate(sums, sums + lanes, 0.0);
}

template <typename Real>
double squared_length(const Real* row, std::int64_t width) {
    double total = 0;
    for (std::int64_t at = 0; at < width; at += block) total += squares<Real>(row + at, std::min(block, width - at));
    // Otherwise squares may have vanished or overflowed.
    return total > 1e-30 && total < 1e30 ? total : squares<double>(row, width);
}

template <typename Real>
void add_scaled(Real* sum, const Real* row, Real factor, std::int64_t width) {
#pragma omp simd
    for (std::int64_t at = 0; at < width; ++at) sum[at] += factor * row[at];
}

// One group of vectors: how many have a direction, how many are not finite.
struct Count {
    std::int64_t known = 0, lost = 0;
};

template <typename Real>
double mean_within(const Real* sums, const std::vector<Count>& counts, std::int64_t width) {
    double total = 0;
    std::int64_t paired = 0;
    for (std::size_t group = 0; group < counts.size(); ++group) {
        if (counts[group].known < 2) continue;
        ++paired;
        const Real* sum = sums + group * width;
        const double n = static_cast<double>(counts[group].known);
        const double mean = std::clamp((squares<double>(sum, width) - n) / (n * n - n), -1.0, 1.0);
        total += counts[group].lost ? std::numeric_limits<double>::quiet_NaN() : mean;
    }
    return paired ? total / paired : std::numeric_limits<double>::quiet_NaN();
}

template <typename Real>
double mean_cosine(const Real* vectors, std::int64_t count, std::int64_t width, const std::int64_t* classes,
                   std::int64_t groups) {
    std::vector<Count> counts(groups);
    std::vector<Real> sums(groups * width);
    for (std::int64_t number = 0; number < count; ++number) {
        const std::int64_t group = classes ? classes[number] : 0;
        const Real* row = vectors + number * width;
        const double length = width == 1 ? std::abs(static_cast<double>(*row)) : std::sqrt(squared_length(row, width));
        if (length < std::numeric_limits<Real>::min()) continue;
        ++counts[group].known;
        if (std::isfinite(length))
            add_scaled(sums.data() + group * width, row, static_cast<Real>(1 / length), width);
        else
            ++counts[group].lost;
    }
    return mean_within(sums.data(), counts, width);
}

template <typename Real>
int mean_cosines(std::int64_t tensors, const Real* const* vectors, const std::int64_t* widths, std::int64_t alike,
                 std::int64_t count, const std::int64_t* classes, std::int64_t groups, double* means) {
    const bool known = std::all_of(classes, classes + (classes ? count : 0),
                                   [=](std::int64_t each) { return each >= 0 && each < groups; });
    if (!known) return 1;
    const std::int64_t entries = count * std::accumulate(widths, widths + tensors, std::int64_t{0});
#pragma omp parallel for schedule(dynamic) if (entries > worth_threads)  // torch's threads, where they are to be had
    for (std::int64_t at = 0; at < tensors; ++at) {
        const bool together = at < alike || !classes;
        means[at] = mean_cosine(vectors[at], count, widths[at], together ? nullptr : classes, together ? 1 : groups);
    }
    return 0;
}

template <typename Real>
bool is_right(const Real* outputs, std::int64_t count, std::int64_t label) {
    const Real own = outputs[label];
    for (std::int64_t at = 0; at < count; ++at)  // of equal outputs the first counts; a NaN is never right
        if (at < label ? !(outputs[at] < own) : !(outputs[at] <= own)) return false;
    return true;
}

template <typename Real>
void class_accuracy(const Real* outputs, std::int64_t samples, std::int64_t count, const std::int64_t* labels,
                    Real* accuracy) {
    std::vector<std::int64_t> right(count), members(count);
    for (std::int64_t at = 0; at < samples; ++at) {
        const std::int64_t label = labels[at];
        if (label < 0 || label >= count) continue;
        ++members[label];
        right[label] += is_right(outputs + at * count, count, label);
    }
    for (std::int64_t at = 0; at < count; ++at) accuracy[at] = static_cast<Real>(right[at]) / static_cast<Real>(members[at]);
}

}  // namespace

extern "C" {

void class_accuracy_float32(const float* outputs, std::int64_t samples, std::int64_t count, const std::int64_t* labels,
                            float* accuracy) {
    class_accuracy(outputs, samples, count, labels, accuracy);
}

void class_accuracy_float64(const double* outputs, std::int64_t samples, std::int64_t count,
                            const std::int64_t* labels, double* accuracy) {
    class_accuracy(outputs, samples, count, labels, accuracy);
}

int mean_cosines_float32(std::int64_t tensors, const float* const* vectors, const std::int64_t* widths,
                         std::int64_t alike, std::int64_t count, const std::int64_t* classes, std::int64_t groups,
                         double* means) {
    return mean_cosines(tensors, vectors, widths, alike, count, classes, groups, means);
}

int mean_cosines_float64(std::int64_t tensors, const double* const* vectors, const std::int64_t* widths,
                         std::int64_t alike, std::int64_t count, const std::int64_t* classes, std::int64_t groups,
                         double* means) {
    return mean_cosines(tensors, vectors, widths, alike, count, classes, groups, means);
}
}
