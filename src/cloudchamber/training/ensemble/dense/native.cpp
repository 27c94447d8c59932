// Losses and gradients of many small networks, one after the other: all that one needs stays in the cache.
// The slow twin is program.py. Arrays are neurons × samples, samples padded to whole vectors.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

using Count = std::int64_t;

// What is one vector: 64 bytes, whatever the processor makes of them.
template <typename Real>
struct Vectors;
template <>
struct Vectors<float> {
    typedef float Type __attribute__((vector_size(64), aligned(4), may_alias));
    typedef std::int32_t Mask __attribute__((vector_size(64)));
};
template <>
struct Vectors<double> {
    typedef double Type __attribute__((vector_size(64), aligned(8), may_alias));
    typedef std::int64_t Mask __attribute__((vector_size(64)));
};
template <typename Real>
using Vector = typename Vectors<Real>::Type;
template <typename Real>
constexpr Count lanes = 64 / sizeof(Real);

template <typename Real>
const Vector<Real>& at(const Real* place) {
    return *reinterpret_cast<const Vector<Real>*>(place);
}
template <typename Real>
Vector<Real>& at(Real* place) {
    return *reinterpret_cast<Vector<Real>*>(place);
}

enum Function : Count { identity = 0, tanh_rational = 1, relu = 2 };

template <typename Real>
struct Matrix {
    Real* data;
    Count rows, stride;
    Real* row(Count number) const { return data + std::min(number, rows - 1) * stride; }
};

// out = A B (+ bias): R rows and V vectors of columns, with A[i][j] at a[i * row + j * column].
template <Count R, Count V, typename Real>
void product_tile(Matrix<Real> out, const Real* a, Count row, Count column, Matrix<Real> b, const Real* bias, Count i,
                  Count start) {
    Vector<Real> sums[R][V];
    const Real* factors[R];
    for (Count r = 0; r < R; ++r) {
        const Count number = std::min(i + r, out.rows - 1);
        factors[r] = a + number * row;
        for (Count v = 0; v < V; ++v) sums[r][v] = (bias ? bias[number] : Real(0)) + Vector<Real>{};
    }
    for (Count j = 0; j < b.rows; ++j) {
        const Real* values = b.data + j * b.stride + start;
        for (Count r = 0; r < R; ++r)
            for (Count v = 0; v < V; ++v) sums[r][v] += factors[r][j * column] * at(values + v * lanes<Real>);
    }
    for (Count r = 0; r < std::min(R, out.rows - i); ++r)
        for (Count v = 0; v < V; ++v) at(out.row(i + r) + start + v * lanes<Real>) = sums[r][v];
}

template <Count R, typename Real>
void product_rows(Matrix<Real> out, const Real* a, Count row, Count column, Matrix<Real> b, const Real* bias, Count i) {
    Count start = 0;
    const Count full = lanes<Real>;
    for (; out.stride - start >= 5 * full; start += 5 * full) product_tile<R, 5>(out, a, row, column, b, bias, i, start);
    for (; out.stride - start >= 2 * full; start += 2 * full) product_tile<R, 2>(out, a, row, column, b, bias, i, start);
    for (; start < out.stride; start += full) product_tile<R, 1>(out, a, row, column, b, bias, i, start);
}

template <typename Real>
void product(Matrix<Real> out, const Real* a, Count row, Count column, Matrix<Real> b, const Real* bias) {
    Count i = 0;
    for (; out.rows - i > 1; i += 4) product_rows<4>(out, a, row, column, b, bias, i);
    for (; i < out.rows; ++i) product_rows<1>(out, a, row, column, b, bias, i);
}

// Adds up the lanes of as many vectors as there are lanes: sums[i] = sum of vectors[i].
template <typename Real>
Vector<Real> across(Vector<Real>* vectors) {
    for (Count count = lanes<Real>; count > 1; count /= 2)
        for (Count i = 0; i < count / 2; ++i) {
            const Vector<Real> a = vectors[2 * i], b = vectors[2 * i + 1];
            if constexpr (sizeof(Real) == 4)
                vectors[i] = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30) +
                             __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
            else
                vectors[i] = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14) +
                             __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
        }
    return vectors[0];
}

// out[i][j] = Σ_n a[i][n] b[j][n], in tiles of I × lanes / I.
template <Count I, typename Real>
void outer(Real* out, Matrix<Real> a, Matrix<Real> b) {
    constexpr Count J = lanes<Real> / I;
    for (Count i = 0; i < a.rows; i += I)
        for (Count j = 0; j < b.rows; j += J) {
            const Real *lefts[I], *rights[J];
            for (Count r = 0; r < I; ++r) lefts[r] = a.row(i + r);
            for (Count c = 0; c < J; ++c) rights[c] = b.row(j + c);
            Vector<Real> sums[I * J] = {};
            for (Count n = 0; n < a.stride; n += lanes<Real>)
                for (Count r = 0; r < I; ++r)
                    for (Count c = 0; c < J; ++c) sums[r * J + c] += at(lefts[r] + n) * at(rights[c] + n);
            const Vector<Real> found = across<Real>(sums);
            Real values[lanes<Real>];
            std::memcpy(values, &found, sizeof values);
            for (Count r = 0; r < std::min(I, a.rows - i); ++r)
                std::copy_n(values + r * J, std::min(J, b.rows - j), out + (i + r) * b.rows + j);
        }
}

template <typename Real>
void row_sums(Real* out, Matrix<Real> a) {
    for (Count i = 0; i < a.rows; i += lanes<Real>) {
        Vector<Real> sums[lanes<Real>] = {};
        for (Count n = 0; n < a.stride; n += lanes<Real>)
            for (Count r = 0; r < lanes<Real>; ++r) sums[r] += at(a.row(i + r) + n);
        const Vector<Real> found = across<Real>(sums);
        std::memcpy(out + i, &found, std::min(lanes<Real>, a.rows - i) * sizeof(Real));
    }
}

// x P(x²)/Q(x²), as tanh.py has it.
template <typename Real>
Vector<Real> rational(Vector<Real> x) {
    const Real most = Real(7.90531110763549805);
    x = x > most ? most + Vector<Real>{} : x;
    x = x < -most ? -most + Vector<Real>{} : x;
    const Vector<Real> s = x * x;
    Vector<Real> p = s * Real(-2.76076847742355e-16) + Real(2.00018790482477e-13);
    p = p * s + Real(-8.60467152213735e-11);
    p = p * s + Real(5.12229709037114e-08);
    p = p * s + Real(1.48572235717979e-05);
    p = p * s + Real(6.37261928875436e-04);
    p = p * s + Real(4.89352455891786e-03);
    Vector<Real> q = s * Real(1.19825839466702e-06) + Real(1.18534705686654e-04);
    q = q * s + Real(2.26843463243900e-03);
    q = q * s + Real(4.89352518554385e-03);
    return x * (p / q);
}

template <typename Real>
void apply(Count function, Matrix<Real> z) {
    Real* end = z.data + z.rows * z.stride;
    if (function == tanh_rational)
        for (Real* place = z.data; place < end; place += lanes<Real>) at(place) = rational<Real>(at(place));
    else if (function == relu)
        for (Real* place = z.data; place < end; place += lanes<Real>) {
            const Vector<Real> x = at(place);
            at(place) = x < 0 ? Vector<Real>{} : x;
        }
}

// The gradient by z from that by h = function(z).
template <typename Real>
void pull(Count function, Matrix<Real> gradient, Matrix<Real> h) {
    const Count entries = h.rows * h.stride;
    if (function == tanh_rational)
        for (Count n = 0; n < entries; n += lanes<Real>) {
            const Vector<Real> value = at(h.data + n);
            at(gradient.data + n) *= 1 - value * value;
        }
    else if (function == relu)
        for (Count n = 0; n < entries; n += lanes<Real>) {
            const Vector<Real> value = at(h.data + n), d = at(gradient.data + n);
            at(gradient.data + n) = value <= 0 ? Vector<Real>{} : d;
        }
}

// The mean squared error over samples and outputs; the outputs become its gradient, 0 where there is no sample.
template <typename Real>
Real squared_error(Matrix<Real> outputs, const Real* targets, Count samples) {
    double total = 0;
    const double entries = static_cast<double>(outputs.rows * samples);
    const Real factor = static_cast<Real>(2 / entries);
    for (Count i = 0; i < outputs.rows; ++i) {
        Real* row = outputs.row(i);
        const Real* expected = targets + i * outputs.stride;
        for (Count n = 0; n < samples; ++n) {
            const Real residual = row[n] - expected[n];
            total += static_cast<double>(residual) * residual;
            row[n] = factor * residual;
        }
        std::fill(row + samples, row + outputs.stride, Real(0));
    }
    return static_cast<Real>(total / entries);
}

// The numbers of one update of Adam, as torch.optim.Adam and AdamW have it: the rate and the root are those of the means
// without their bias towards zero, `decay` is added to the gradient and `shrink` multiplies the parameters.
struct Adam {
    double rate, weight1, beta2, weight2, root, eps, decay, shrink;
};

template <typename Real>
void update(const Adam& adam, Real* w, const Real* gradient, Real* mean, Real* square, Count count) {
    const Real rate = adam.rate, weight1 = adam.weight1, beta2 = adam.beta2, weight2 = adam.weight2, root = adam.root,
               eps = adam.eps, decay = adam.decay, shrink = adam.shrink;
#pragma omp simd
    for (Count n = 0; n < count; ++n) {
        const Real g = gradient[n] + decay * w[n];
        mean[n] += weight1 * (g - mean[n]);
        square[n] = beta2 * square[n] + weight2 * (g * g);
        w[n] = shrink * w[n] - rate * (mean[n] / (std::sqrt(square[n]) * root + eps));
    }
}

struct Layer {
    Count fan_in, fan_out, weight, bias, function;  // weight and bias: where in a row of parameters; bias may be -1
};

template <typename Real>
struct Problem {
    Count members, parameters, samples, padded, layers;
    const Layer* chain;
    Real* flat;
    const Real* inputs;  // one matrix, or one per member
    Count inputs_each;
    const Real* targets;
    Count targets_each;
    const Real* scales;  // of the outputs of each member, or none
    Real* gradients;  // or none: then `adam` updates the parameters
    Real* losses;
    const Adam* adam;
    Real* means;
    Real* squares;

    Count neurons() const {
        Count total = 0, widest = 0;
        for (Count l = 0; l < layers; ++l) {
            total += chain[l].fan_out;
            widest = std::max(widest, chain[l].fan_out);
        }
        return total + 2 * widest;
    }

    // Of a gradient, in whole vectors.
    Count room() const { return adam ? (parameters + lanes<Real> - 1) / lanes<Real> * lanes<Real> : 0; }

    void solve(Count member, Real* space) const {
        Real* w = flat + member * parameters;
        Real* g = adam ? space : gradients + member * parameters;
        Matrix<Real> below{const_cast<Real*>(inputs) + member * inputs_each, chain[0].fan_in, padded};
        const Matrix<Real> first = below;
        Real* free = space + room();
        for (Count l = 0; l < layers; ++l) {
            const Layer& layer = chain[l];
            const Matrix<Real> out{free, layer.fan_out, padded};
            product(out, w + layer.weight, layer.fan_in, Count(1), below, layer.bias < 0 ? nullptr : w + layer.bias);
            apply(layer.function, out);
            below = out;
            free += layer.fan_out * padded;
        }
        // `below` are the outputs; their gradient replaces a copy of them.
        const Layer& last = chain[layers - 1];
        Count widest = 0;
        for (Count l = 0; l < layers; ++l) widest = std::max(widest, chain[l].fan_out);
        Real* spare[2] = {free, free + widest * padded};
        Matrix<Real> gradient{spare[0], last.fan_out, padded};
        const Count entries = last.fan_out * padded;
        const Real scale = scales ? scales[member] : Real(1);
        for (Count n = 0; n < entries; ++n) gradient.data[n] = scale * below.data[n];
        losses[member] = squared_error(gradient, targets + member * targets_each, samples);
        if (scales)
            for (Count n = 0; n < entries; ++n) gradient.data[n] *= scale;
        for (Count l = layers - 1; l >= 0; --l) {
            const Layer& layer = chain[l];
            const Matrix<Real> h{below.data, layer.fan_out, padded};
            pull(layer.function, gradient, h);
            below = l ? Matrix<Real>{below.data - layer.fan_in * padded, layer.fan_in, padded} : first;
            if (layer.fan_out < 4)
                outer<1>(g + layer.weight, gradient, below);
            else
                outer<4>(g + layer.weight, gradient, below);
            if (layer.bias >= 0) row_sums(g + layer.bias, gradient);
            if (!l) break;
            const Matrix<Real> next{spare[(layers - l) % 2], layer.fan_in, padded};
            product(next, w + layer.weight, Count(1), layer.fan_in, gradient, static_cast<const Real*>(nullptr));
            gradient = next;
        }
        if (adam) update(*adam, w, g, means + member * parameters, squares + member * parameters, parameters);
    }

    void run() const {
#pragma omp parallel
        {
            std::vector<Real> space(room() + neurons() * padded + lanes<Real>);
            const auto off = reinterpret_cast<std::uintptr_t>(space.data()) % 64 / sizeof(Real);
            Real* aligned = space.data() + (lanes<Real> - off) % lanes<Real>;
#pragma omp for schedule(static)
            for (Count member = 0; member < members; ++member) solve(member, aligned);
        }
    }
};

}  // namespace

extern "C" {

void dense_gradients_float32(const Problem<float>* problem) { problem->run(); }
void dense_gradients_float64(const Problem<double>* problem) { problem->run(); }
}
