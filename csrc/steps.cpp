#include "steps.h"

#include <algorithm>

namespace intsim {
namespace {

// The part of an array that belongs to the images of this call.
template <class T, class Pointer, class Image>
T* of_images(const std::vector<Pointer>& arrays, int64_t index, int64_t first_image, const Images<Image>& images) {
    return static_cast<T*>(arrays[static_cast<size_t>(index)]) +
           first_image * images.channels * images.height * images.width;
}

}  // namespace

Step quantize_step(const std::string& name, int64_t input, float scale, int64_t low, int64_t high, int64_t out) {
    return {name, {}, out, [=](const Values& values) -> Work {
                return [=, &images = values.bytes(out)](const Call& call) {
                    quantize(of_images<const float>(*call.inputs, input, call.first_image, images), scale, low, high,
                             images, call.threads);
                };
            }};
}

Step import_codes_step(const std::string& name, int64_t input, int64_t min, int64_t out) {
    return {name, {}, out, [=](const Values& values) -> Work {
                return [=, &images = values.bytes(out)](const Call& call) {
                    import_codes(of_images<const uint8_t>(*call.inputs, input, call.first_image, images), min, images,
                                 call.threads);
                };
            }};
}

Step import_accumulators_step(const std::string& name, int64_t input, int64_t out) {
    return {name, {}, out, [=](const Values& values) -> Work {
                return [=, &images = values.accumulators(out)](const Call& call) {
                    import_accumulators(of_images<const int32_t>(*call.inputs, input, call.first_image, images), images,
                                        call.threads);
                };
            }};
}

Step export_codes_step(const std::string& name, int64_t in, int64_t min, int64_t output) {
    return {name, {in}, kNothing, [=](const Values& values) -> Work {
                return [=, &images = values.bytes(in)](const Call& call) {
                    export_codes(images, min, of_images<uint8_t>(*call.outputs, output, call.first_image, images),
                                 call.threads);
                };
            }};
}

Step export_accumulators_step(const std::string& name, int64_t in, int64_t output) {
    return {name, {in}, kNothing, [=](const Values& values) -> Work {
                return [=, &images = values.accumulators(in)](const Call& call) {
                    export_accumulators(images, of_images<int32_t>(*call.outputs, output, call.first_image, images),
                                        call.threads);
                };
            }};
}

Step conv_step(std::shared_ptr<const Conv> conv, const Padding& padding, int64_t in, int64_t out) {
    return {conv->spec().name, {in}, out, [=](const Values& values) -> Work {
                const auto bound =
                    values.are_bytes(out)
                        ? conv->bind(values.bytes(in), padding.sides, padding.byte, values.bytes(out))
                        : conv->bind(values.bytes(in), padding.sides, padding.byte, values.accumulators(out));
                return [bound](const Call& call) { bound(call.threads); };
            }};
}

Step conv_add_step(std::shared_ptr<const Conv> conv, const Padding& padding, std::shared_ptr<const Add> add, int64_t in,
                   int64_t stream, int64_t out) {
    return {conv->spec().name, {in, stream}, out, [=](const Values& values) -> Work {
                const auto bound = conv->bind(values.bytes(in), padding.sides, padding.byte, *add, values.bytes(stream),
                                              values.bytes(out));
                return [bound](const Call& call) { bound(call.threads); };
            }};
}

Step add_step(std::shared_ptr<const Add> add, int64_t a, int64_t b, int64_t out) {
    return {add->name(), {a, b}, out, [=](const Values& values) -> Work {
                const ByteImages &other = values.bytes(b), &to = values.bytes(out);
                if (values.are_bytes(a))
                    return [=, &from = values.bytes(a), &other, &to](const Call& call) {
                        add->run(from, other, to, call.threads);
                    };
                return [=, &from = values.accumulators(a), &other, &to](const Call& call) {
                    add->run(from, other, to, call.threads);
                };
            }};
}

Step requantize_step(std::shared_ptr<const Requantize> requantize, int64_t in, int64_t out) {
    return {requantize->name(), {in}, out, [=](const Values& values) -> Work {
                return [=, &from = values.accumulators(in), &to = values.bytes(out)](const Call& call) {
                    requantize->run(from, to, call.threads);
                };
            }};
}

namespace {

// A step whose work is function(in, parameter, out, threads), all bytes.
template <class Function, class Parameter>
Step bytes_step(const std::string& name, Function function, Parameter parameter, int64_t in, int64_t out) {
    return {name, {in}, out, [=](const Values& values) -> Work {
                return [=, &from = values.bytes(in), &to = values.bytes(out)](const Call& call) {
                    function(from, parameter, to, call.threads);
                };
            }};
}

}  // namespace

Step lookup_step(const std::string& name, std::vector<uint8_t> tables, int64_t in, int64_t out) {
    return bytes_step(name, lookup, std::move(tables), in, out);
}

Step max_pool_step(const std::string& name, const MaxPoolSpec& spec, int64_t in, int64_t out) {
    return bytes_step(name, max_pool, spec, in, out);
}

Step average_pool_step(const std::string& name, AveragePoolSpec spec, int64_t in, int64_t out) {
    return bytes_step(name, average_pool, std::move(spec), in, out);
}

Step copy_step(const std::string& name, const Region& region, int64_t in, int64_t out) {
    return bytes_step(name, copy_region, region, in, out);
}

Step fill_step(const std::string& name, int64_t out) {
    return {name, {}, out, [=](const Values& values) -> Work {
                return [&images = values.bytes(out)](const Call&) {
                    for (int64_t image = 0; image < images.batch; ++image)
                        for (int64_t y = 0; y < images.height; ++y)
                            std::fill_n(images.pixel(image, y, 0), images.width * images.pixel_stride, images.fill);
                };
            }};
}

}  // namespace intsim
