// What libavcodec.rs and plugin.rs believe of the C headers, proved by the compiler that reads them. No code is made.

#include <stddef.h>

#include <libavcodec/avcodec.h>
#include <libavutil/log.h>
#include <libavutil/mem.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libheif/heif.h>
#include <libheif/heif_plugin.h>

#define PLACE(type, field, place) _Static_assert(offsetof(type, field) == (place), #type "." #field)
#define SIGNATURE(function, ...) \
  _Static_assert(__builtin_types_compatible_p(__typeof__(&function), __VA_ARGS__), #function)

enum { POINTER = sizeof(void *) };

_Static_assert(sizeof(int) == 4 && POINTER == 8, "sizes");

// libavcodec.rs: the beginning of a frame, and the functions.
PLACE(AVFrame, data, 0);
PLACE(AVFrame, linesize, 8 * POINTER);
PLACE(AVFrame, extended_data, 8 * POINTER + 32);
PLACE(AVFrame, width, 9 * POINTER + 32);
PLACE(AVFrame, height, 9 * POINTER + 36);
PLACE(AVFrame, nb_samples, 9 * POINTER + 40);
PLACE(AVFrame, format, 9 * POINTER + 44);
_Static_assert(AV_NUM_DATA_POINTERS == 8, "planes");
_Static_assert(AV_INPUT_BUFFER_PADDING_SIZE <= 64, "padding");
_Static_assert(AV_LOG_QUIET == -8, "log level");
_Static_assert(AVCOL_RANGE_JPEG == 2, "full range");

SIGNATURE(avcodec_find_decoder_by_name, const AVCodec *(*)(const char *));
SIGNATURE(avcodec_alloc_context3, AVCodecContext *(*)(const AVCodec *));
SIGNATURE(avcodec_free_context, void (*)(AVCodecContext **));
SIGNATURE(avcodec_open2, int (*)(AVCodecContext *, const AVCodec *, AVDictionary **));
SIGNATURE(avcodec_send_packet, int (*)(AVCodecContext *, const AVPacket *));
SIGNATURE(avcodec_receive_frame, int (*)(AVCodecContext *, AVFrame *));
SIGNATURE(av_packet_alloc, AVPacket *(*)(void));
SIGNATURE(av_packet_free, void (*)(AVPacket **));
SIGNATURE(av_packet_from_data, int (*)(AVPacket *, uint8_t *, int));
SIGNATURE(av_frame_alloc, AVFrame *(*)(void));
SIGNATURE(av_frame_free, void (*)(AVFrame **));
SIGNATURE(av_mallocz, void *(*)(size_t));
SIGNATURE(av_free, void (*)(void *));
SIGNATURE(av_log_set_level, void (*)(int));
SIGNATURE(av_opt_set, int (*)(void *, const char *, const char *, int));
SIGNATURE(av_opt_set_int, int (*)(void *, const char *, int64_t, int));
SIGNATURE(av_opt_get_int, int (*)(void *, const char *, int, int64_t *));
SIGNATURE(av_get_pix_fmt_name, const char *(*)(enum AVPixelFormat));

// plugin.rs: libheif's table of functions, version 6.
_Static_assert(heif_decoder_plugin_latest_version >= 6 && heif_decoder_plugin_minimum_version <= 6, "version");
PLACE(heif_decoder_plugin, get_plugin_name, 1 * POINTER);
PLACE(heif_decoder_plugin, init_plugin, 2 * POINTER);
PLACE(heif_decoder_plugin, deinit_plugin, 3 * POINTER);
PLACE(heif_decoder_plugin, does_support_format, 4 * POINTER);
PLACE(heif_decoder_plugin, new_decoder, 5 * POINTER);
PLACE(heif_decoder_plugin, free_decoder, 6 * POINTER);
PLACE(heif_decoder_plugin, push_data, 7 * POINTER);
PLACE(heif_decoder_plugin, decode_image, 8 * POINTER);
PLACE(heif_decoder_plugin, set_strict_decoding, 9 * POINTER);
PLACE(heif_decoder_plugin, id_name, 10 * POINTER);
PLACE(heif_decoder_plugin, decode_next_image, 11 * POINTER);
PLACE(heif_decoder_plugin, minimum_required_libheif_version, 12 * POINTER);
PLACE(heif_decoder_plugin, does_support_format2, 13 * POINTER);
PLACE(heif_decoder_plugin, new_decoder2, 14 * POINTER);
PLACE(heif_decoder_plugin, push_data2, 15 * POINTER);
PLACE(heif_decoder_plugin, flush_data, 16 * POINTER);
PLACE(heif_decoder_plugin, decode_next_image2, 17 * POINTER);
PLACE(heif_decoder_plugin_options, format, 0);
PLACE(heif_decoder_plugin_options, strict_decoding, 4);
PLACE(heif_decoder_plugin_options, num_threads, 8);
PLACE(heif_decoder_plugin_options, limits, 2 * POINTER);

SIGNATURE(*((heif_decoder_plugin *)0)->does_support_format, int (*)(heif_compression_format));
SIGNATURE(*((heif_decoder_plugin *)0)->new_decoder, heif_error (*)(void **));
SIGNATURE(*((heif_decoder_plugin *)0)->new_decoder2, heif_error (*)(void **, const heif_decoder_plugin_options *));
SIGNATURE(*((heif_decoder_plugin *)0)->free_decoder, void (*)(void *));
SIGNATURE(*((heif_decoder_plugin *)0)->push_data, heif_error (*)(void *, const void *, size_t));
SIGNATURE(*((heif_decoder_plugin *)0)->push_data2, heif_error (*)(void *, const void *, size_t, uintptr_t));
SIGNATURE(*((heif_decoder_plugin *)0)->decode_image, heif_error (*)(void *, heif_image **));
SIGNATURE(*((heif_decoder_plugin *)0)->flush_data, heif_error (*)(void *));
SIGNATURE(*((heif_decoder_plugin *)0)->decode_next_image2,
          heif_error (*)(void *, heif_image **, uintptr_t *, const heif_security_limits *));

typedef int abi_is_as_believed;
