#pragma once

#include "../call.h"

namespace bts {

// What the device reaches at most, measured within a second: peaks[0] FLOP/s of multiply-adds in registers, of what matrix
// products take, summed in f32; peaks[1] bytes read in a second from memory that no cache holds. All of it takes part.
template <class A>
struct MeasurePeaks {
  static constexpr const char* name = "measure_peaks";
  float* peaks;  // [2]

  static MeasurePeaks read(Call& c) {
    const MeasurePeaks op{.peaks = c.output<float>("peaks", "P")};
    c.require(c["P"] == 2, "room for two numbers");
    return op;
  }
};

}  // namespace bts
