// Loads each engine file and runs the sound ones on two images of zeros; prints "sound" or what is
// wrong, a line for each. For sanitizers.
#include <cstdint>
#include <cstdio>
#include <vector>

#include "inception_fast/engine.h"

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    try {
      const inception_fast::Engine engine(argv[i]);
      if (engine.takes_bytes()) {
        engine.run(std::vector<std::uint8_t>(2 * engine.input().size()));
      } else {
        engine.run(std::vector<float>(2 * engine.input().size()));
      }
      std::puts("sound");
    } catch (const inception_fast::Error& error) {
      std::puts(error.what());
    }
  }
}
