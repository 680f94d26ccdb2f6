// The kernels of defect-tiles; which layer has which sizes is in network.ts, what they compute once more in reference.ts, bit
// for bit. Rebuild: tools/build_bundle.ts, which compiles with --fmad=false.
//
// One thread per output element, in [height, width, channels]. No thread depends on another, so blocks can stop and go on
// in any order. Sums run in a fixed order: bias, then ky, kx, input channel.

// 3 x 3 with one pixel of padding, stride 2, relu; reads bytes 0..255 as -0.5..0.5.
extern "C" __global__ void stem(const unsigned char *tile, const float *weights, const float *bias, float *out,
                                int width, int height, int out_width, int out_height, int out_channels) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= out_width * out_height * out_channels) return;
  const int oc = i % out_channels;
  const int ox = i / out_channels % out_width;
  const int oy = i / out_channels / out_width;
  float sum = bias[oc];
  for (int ky = 0; ky < 3; ++ky) {
    const int y = oy * 2 + ky - 1;
    if (y < 0 || y >= height) continue;
    for (int kx = 0; kx < 3; ++kx) {
      const int x = ox * 2 + kx - 1;
      if (x < 0 || x >= width) continue;
      for (int c = 0; c < 3; ++c) {
        const float value = tile[(y * width + x) * 3 + c] * (1.0f / 255.0f) - 0.5f;
        sum += value * weights[((ky * 3 + kx) * 3 + c) * out_channels + oc];
      }
    }
  }
  out[i] = sum > 0.0f ? sum : 0.0f;
}

// 3 x 3 with `dilation` pixels from tap to tap and as many of padding, relu.
extern "C" __global__ void conv3x3(const float *in, const float *weights, const float *bias, float *out, int width,
                                   int height, int in_channels, int out_width, int out_height, int out_channels,
                                   int stride, int dilation) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= out_width * out_height * out_channels) return;
  const int oc = i % out_channels;
  const int ox = i / out_channels % out_width;
  const int oy = i / out_channels / out_width;
  float sum = bias[oc];
  for (int ky = 0; ky < 3; ++ky) {
    const int y = oy * stride + (ky - 1) * dilation;
    if (y < 0 || y >= height) continue;
    for (int kx = 0; kx < 3; ++kx) {
      const int x = ox * stride + (kx - 1) * dilation;
      if (x < 0 || x >= width) continue;
      const float *pixel = in + (y * width + x) * in_channels;
      const float *taps = weights + (ky * 3 + kx) * in_channels * out_channels + oc;
      for (int c = 0; c < in_channels; ++c) sum += pixel[c] * taps[c * out_channels];
    }
  }
  out[i] = sum > 0.0f ? sum : 0.0f;
}

// 1 x 1, relu.
extern "C" __global__ void narrow(const float *in, const float *weights, const float *bias, float *out, int pixels,
                                  int in_channels, int out_channels) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= pixels * out_channels) return;
  const int oc = i % out_channels;
  const float *pixel = in + i / out_channels * in_channels;
  float sum = bias[oc];
  for (int c = 0; c < in_channels; ++c) sum += pixel[c] * weights[c * out_channels + oc];
  out[i] = sum > 0.0f ? sum : 0.0f;
}

// 3 x 3 with one pixel of padding, relu, over two inputs: the channels of `fine`, then those of `coarse`, each pixel of which
// stands for 2 x 2 of the output's.
extern "C" __global__ void merge(const float *fine, const float *coarse, const float *weights, const float *bias,
                                 float *out, int width, int height, int fine_channels, int coarse_channels,
                                 int out_channels) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= width * height * out_channels) return;
  const int oc = i % out_channels;
  const int ox = i / out_channels % width;
  const int oy = i / out_channels / width;
  float sum = bias[oc];
  for (int ky = 0; ky < 3; ++ky) {
    const int y = oy + ky - 1;
    if (y < 0 || y >= height) continue;
    for (int kx = 0; kx < 3; ++kx) {
      const int x = ox + kx - 1;
      if (x < 0 || x >= width) continue;
      const float *taps = weights + (ky * 3 + kx) * (fine_channels + coarse_channels) * out_channels + oc;
      const float *pixel = fine + (y * width + x) * fine_channels;
      for (int c = 0; c < fine_channels; ++c) sum += pixel[c] * taps[c * out_channels];
      taps += fine_channels * out_channels;
      pixel = coarse + (y / 2 * (width / 2) + x / 2) * coarse_channels;
      for (int c = 0; c < coarse_channels; ++c) sum += pixel[c] * taps[c * out_channels];
    }
  }
  out[i] = sum > 0.0f ? sum : 0.0f;
}

// 1 x 1 to four channels, the 2 x 2 pixels that each pixel of the input stands for, row by row: 255 where the sum is above 0,
// else 0.
extern "C" __global__ void head(const float *in, const float *weights, const float *bias, unsigned char *mask,
                                int width, int height, int in_channels) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= 4 * width * height) return;
  // Neighbours in the mask are neighbours as threads.
  const int x = i % (2 * width);
  const int y = i / (2 * width);
  const int oc = y % 2 * 2 + x % 2;
  const float *pixel = in + (y / 2 * width + x / 2) * in_channels;
  float sum = bias[oc];
  for (int c = 0; c < in_channels; ++c) sum += pixel[c] * weights[c * 4 + oc];
  mask[i] = sum > 0.0f ? 255 : 0;
}
