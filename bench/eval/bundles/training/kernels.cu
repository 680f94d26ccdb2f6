// Background: training steps of a small network: 128 -> 256 (max(0, x)) -> 64, squared error, gradient descent.
#include "../common.cuh"

// Numbers from -scale to scale.
extern "C" __global__ void numbers(float *out, unsigned seed, float scale) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] = ((float)(mixed(i + seed) >> 8) / 8388608.0f - 1.0f) * scale;
}

// out[r][c] = sum over k of a[r][k] * b[k][c], rows of `columns`, one thread per element; `relu`: max(0, x).
extern "C" __global__ void product(const float *a, const float *b, float *out, int inner, int columns, int relu) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  const int row = i / columns, column = i % columns;
  float sum = 0.0f;
  for (int k = 0; k < inner; ++k) sum += a[row * inner + k] * b[k * columns + column];
  out[i] = relu != 0 && sum < 0.0f ? 0.0f : sum;
}

// What is to be changed in the answers: 2 (answer - target) / count.
extern "C" __global__ void error_of(const float *answers, const float *targets, float *delta, float factor) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  delta[i] = (answers[i] - targets[i]) * factor;
}

// delta of the hidden layer: delta times the weights transposed, where the layer was at work.
extern "C" __global__ void backward(const float *delta, const float *weights, const float *hidden, float *out,
                                    int inner, int columns) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  const int row = i / columns, column = i % columns;
  float sum = 0.0f;
  for (int k = 0; k < inner; ++k) sum += delta[row * inner + k] * weights[column * inner + k];
  out[i] = hidden[i] > 0.0f ? sum : 0.0f;
}

// weights -= rate * (inputs transposed times delta).
extern "C" __global__ void descend(float *weights, const float *inputs, const float *delta, int batch, int rows,
                                   int columns, float rate) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  const int row = i / columns, column = i % columns;
  float sum = 0.0f;
  for (int k = 0; k < batch; ++k) sum += inputs[k * rows + row] * delta[k * columns + column];
  weights[i] -= rate * sum;
}
