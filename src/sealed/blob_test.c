/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "sealed/blob.h"

#include "crypto/random.h"
#include "sealed/sealed_testing.h"
#include "sealed/snapshot.h"

struct shelf {
	struct buf chunks[64];
	size_t count;
	enum err answer;
};

static enum err
keep(void *arg, uint32_t index, struct bytes chunk)
{
	struct shelf *s = arg;
	if (s->answer != ERR_OK) {
		return s->answer;
	}
	assert_in_range(index, 0, 63);
	assert_int_equal(s->chunks[index].len, 0);
	s->chunks[index] = BUF_INIT(1 << 20);
	s->count++;
	return buf_append(&s->chunks[index], chunk);
}

static void
shelf_clear(struct shelf *s)
{
	for (size_t i = 0; i < 64; i++) {
		buf_clear(&s->chunks[i]);
	}
	memset(s, 0, sizeof(*s));
}

static enum err
gather(void *arg, uint32_t index, struct bytes piece)
{
	(void)index;
	assert_in_range(piece.len, 1, 128 * 1024);
	return buf_append(arg, piece);
}

static enum err
read_all(struct blob_codec *codec, const struct blob_ref *ref, const struct shelf *s, size_t first,
	 struct buf *ret)
{
	struct blob_reader *r = NULL;
	enum err e = blob_reader_create(codec, ref, gather, ret, &r);
	for (size_t i = first; i < s->count && e == ERR_OK; i++) {
		e = blob_reader_feed(r, buf_bytes(&s->chunks[i]));
	}
	if (e == ERR_OK) {
		e = blob_reader_finish(r);
	}
	blob_reader_destroy(&r);
	return e;
}

/* kind 0: zeros, 1: text-like, 2: random */
static void
fill(struct buf *b, size_t n, int kind)
{
	struct crypto_random rng;
	uint8_t seed[32] = {(uint8_t)kind};
	crypto_random_init_seed(&rng, seed);
	buf_reset(b);
	assert_int_equal(buf_reserve(b, n + 8), ERR_OK);
	for (size_t i = 0; i < n; i++) {
		uint64_t v = kind == 0 ? 0 : crypto_random_u64(&rng);
		b->ptr[i] = (uint8_t)(kind == 2 ? v : kind == 1 ? 'a' + v % 7 : 0);
	}
	b->len = n;
}

static void
every_message_comes_back_as_it_went_in(void **state)
{
	struct blob_codec *codec = *state;
	static const size_t sizes[] = {0,     1,     2000,   4083,   4084,   4096,    16384,  65535,
				       65536, 65537, 200000, 262144, 262145, 1000000, 2500000};
	struct buf message = BUF_INIT(1 << 23);
	struct buf back = BUF_INIT(1 << 23);
	struct shelf shelf = {.count = 0};
	for (int kind = 0; kind < 3; kind++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			struct blob_ref ref;
			fill(&message, sizes[i], kind);
			blob_ref_init(&ref);
			assert_int_equal(blob_seal(codec, &ref, buf_bytes(&message), keep, &shelf), ERR_OK);
			assert_int_equal(ref.size, sizes[i]);
			assert_int_equal(ref.chunks, shelf.count);
			uint64_t padded = ref.stored - ref.chunks * (uint64_t)BLOB_CHUNK_OVERHEAD;
			assert_int_equal(padded, blob_ladder(padded));
			buf_reset(&back);
			assert_int_equal(read_all(codec, &ref, &shelf, 0, &back), ERR_OK);
			assert_true(bytes_equal(buf_bytes(&back), buf_bytes(&message)));
			buf_reset(&back);
			enum err small = blob_open_small(codec, &ref, buf_bytes(&shelf.chunks[0]), &back);
			assert_int_equal(small, ref.chunks == 1 ? ERR_OK : ERR_FORMAT);
			if (ref.chunks == 1) {
				assert_true(bytes_equal(buf_bytes(&back), buf_bytes(&message)));
			}
			shelf_clear(&shelf);
			/* In odd pieces. */
			struct blob_writer *w = NULL;
			blob_ref_init(&ref);
			assert_int_equal(blob_writer_create(codec, &ref, sizes[i], keep, &shelf, &w), ERR_OK);
			size_t piece = sizes[i] / 7 + 13;
			for (size_t at = 0; at < sizes[i]; at += piece) {
				assert_int_equal(
				    blob_writer_feed(w, bytes_slice(buf_bytes(&message), at, piece)), ERR_OK);
			}
			assert_int_equal(blob_writer_finish(w, &ref), ERR_OK);
			blob_writer_destroy(&w);
			buf_reset(&back);
			assert_int_equal(read_all(codec, &ref, &shelf, 0, &back), ERR_OK);
			assert_true(bytes_equal(buf_bytes(&back), buf_bytes(&message)));
			shelf_clear(&shelf);
		}
	}
	buf_clear(&message);
	buf_clear(&back);
}

static void
sizes_show_only_the_step_of_the_ladder(void **state)
{
	(void)state;
	assert_int_equal(blob_ladder(0), 4096);
	assert_int_equal(blob_ladder(4096), 4096);
	assert_int_equal(blob_ladder(4097), 16384);
	assert_int_equal(blob_ladder(16385), 65536);
	assert_int_equal(blob_ladder(65537), 131072);
	assert_int_equal(blob_ladder(131073), 262144);
	assert_int_equal(blob_ladder(BLOB_MESSAGE_MAX + 1), (uint64_t)1 << 31);
}

static void
each_change_to_a_blob_is_found(void **state)
{
	struct blob_codec *codec = *state;
	struct buf message = BUF_INIT(1 << 23);
	struct buf back = BUF_INIT(1 << 23);
	struct shelf shelf = {.count = 0};
	struct blob_ref ref;
	fill(&message, 3000, 2);
	blob_ref_init(&ref);
	assert_int_equal(blob_seal(codec, &ref, buf_bytes(&message), keep, &shelf), ERR_OK);
	assert_int_equal(shelf.count, 1);
	uint8_t *p = shelf.chunks[0].ptr;
	for (size_t bit = 0; bit < shelf.chunks[0].len * 8; bit += 7) {
		p[bit / 8] ^= (uint8_t)(1 << (bit % 8));
		assert_int_not_equal(blob_open_small(codec, &ref, buf_bytes(&shelf.chunks[0]), &back),
				     ERR_OK);
		assert_int_not_equal(read_all(codec, &ref, &shelf, 0, &back), ERR_OK);
		p[bit / 8] ^= (uint8_t)(1 << (bit % 8));
	}
	assert_int_equal(back.len, 0);
	/* A reference that does not fit. */
	for (int what = 0; what < 6; what++) {
		struct blob_ref bad = ref;
		switch (what) {
		case 0:
			bad.key[0] ^= 1;
			break;
		case 1:
			bad.name[0] ^= 1;
			break;
		case 2:
			bad.hash[0] ^= 1;
			break;
		case 3:
			bad.size++;
			break;
		case 4:
			bad.size--;
			break;
		default:
			bad.stored += 12288;
			break;
		}
		buf_reset(&back);
		assert_int_not_equal(blob_open_small(codec, &bad, buf_bytes(&shelf.chunks[0]), &back),
				     ERR_OK);
		assert_int_equal(back.len, 0);
		assert_int_not_equal(read_all(codec, &bad, &shelf, 0, &back), ERR_OK);
	}
	struct buf tight = BUF_INIT(2999);
	assert_int_equal(blob_open_small(codec, &ref, buf_bytes(&shelf.chunks[0]), &tight), ERR_LIMIT);
	shelf_clear(&shelf);
	/* Several chunks: swapped, missing, one too many. */
	fill(&message, 250000, 2);
	blob_ref_init(&ref);
	assert_int_equal(blob_seal(codec, &ref, buf_bytes(&message), keep, &shelf), ERR_OK);
	assert_int_equal(shelf.count, 4);
	buf_reset(&back);
	assert_int_equal(read_all(codec, &ref, &shelf, 0, &back), ERR_OK);
	struct buf swap = shelf.chunks[1];
	shelf.chunks[1] = shelf.chunks[2];
	shelf.chunks[2] = swap;
	assert_int_equal(read_all(codec, &ref, &shelf, 0, &back), ERR_AUTH);
	swap = shelf.chunks[1];
	shelf.chunks[1] = shelf.chunks[2];
	shelf.chunks[2] = swap;
	shelf.count = 3;
	buf_reset(&back);
	assert_int_equal(read_all(codec, &ref, &shelf, 0, &back), ERR_DAMAGED);
	shelf.count = 4;
	assert_int_equal(buf_append(&shelf.chunks[4], BYTES_LIT("x")), ERR_LIMIT);
	shelf.count = 5;
	buf_reset(&back);
	assert_int_equal(read_all(codec, &ref, &shelf, 0, &back), ERR_DAMAGED);
	shelf_clear(&shelf);
	buf_clear(&message);
	buf_clear(&back);
}

static void
a_frame_that_says_another_size_is_refused(void **state)
{
	struct blob_codec *codec = *state;
	struct buf frame = BUF_INIT(1 << 24);
	struct buf message = BUF_INIT(1 << 24);
	struct buf back = BUF_INIT(1 << 24);
	struct shelf shelf = {.count = 0};
	struct blob_ref ref;
	/* A bomb: 10 MB of zeros in a small frame, declared as 1000 bytes by the card. */
	fill(&message, 10000000, 0);
	assert_int_equal(blob_compress(codec, buf_bytes(&message), &frame), ERR_OK);
	assert_in_range(frame.len, 1, 4096);
	blob_ref_init(&ref);
	assert_int_equal(blob_seal_frame(&ref, buf_bytes(&frame), 1000, keep, &shelf), ERR_OK);
	assert_int_equal(blob_open_small(codec, &ref, buf_bytes(&shelf.chunks[0]), &back), ERR_DAMAGED);
	assert_int_equal(read_all(codec, &ref, &shelf, 0, &back), ERR_DAMAGED);
	assert_int_equal(back.len, 0);
	shelf_clear(&shelf);
	/* Something behind the frame. */
	fill(&message, 100, 1);
	buf_reset(&frame);
	assert_int_equal(blob_compress(codec, buf_bytes(&message), &frame), ERR_OK);
	assert_int_equal(buf_append_byte(&frame, 1), ERR_OK);
	assert_int_equal(blob_seal_frame(&ref, buf_bytes(&frame), 100, keep, &shelf), ERR_OK);
	assert_int_equal(blob_open_small(codec, &ref, buf_bytes(&shelf.chunks[0]), &back), ERR_DAMAGED);
	assert_int_equal(read_all(codec, &ref, &shelf, 0, &back), ERR_DAMAGED);
	shelf_clear(&shelf);
	/* No frame at all, and an end that is missing. */
	buf_reset(&frame);
	assert_int_equal(blob_compress(codec, buf_bytes(&message), &frame), ERR_OK);
	while (frame.ptr[frame.len - 1] == 0) {
		frame.len--; /* the padding would give these back */
	}
	for (size_t n = 0; n < frame.len; n++) {
		assert_int_equal(
		    blob_seal_frame(&ref, bytes_slice(buf_bytes(&frame), 0, n), 100, keep, &shelf), ERR_OK);
		buf_reset(&back);
		assert_int_equal(blob_open_small(codec, &ref, buf_bytes(&shelf.chunks[0]), &back),
				 ERR_DAMAGED);
		assert_int_equal(read_all(codec, &ref, &shelf, 0, &back), ERR_DAMAGED);
		shelf_clear(&shelf);
	}
	buf_clear(&frame);
	buf_clear(&message);
	buf_clear(&back);
}

static void
the_writer_stops_where_it_must(void **state)
{
	struct blob_codec *codec = *state;
	struct shelf shelf = {.answer = ERR_FULL};
	struct blob_ref ref;
	struct blob_writer *w = NULL;
	struct blob_writer *second = NULL;
	blob_ref_init(&ref);
	assert_int_equal(blob_seal(codec, &ref, BYTES_LIT("hello"), keep, &shelf), ERR_FULL);
	shelf.answer = ERR_OK;
	assert_int_equal(blob_writer_create(codec, &ref, BLOB_MESSAGE_MAX + 1, keep, &shelf, &w), ERR_LIMIT);
	assert_int_equal(blob_writer_create(codec, &ref, 10, keep, &shelf, &w), ERR_OK);
	assert_int_equal(blob_writer_create(codec, &ref, 10, keep, &shelf, &second), ERR_STATE);
	assert_int_equal(blob_writer_feed(w, BYTES_LIT("123")), ERR_OK);
	struct blob_ref got;
	assert_int_equal(blob_writer_finish(w, &got), ERR_STATE);
	blob_writer_destroy(&w);
	assert_int_equal(blob_writer_create(codec, &ref, 2, keep, &shelf, &w), ERR_OK);
	assert_int_equal(blob_writer_feed(w, BYTES_LIT("123")), ERR_STATE);
	blob_writer_destroy(&w);
	/* And the codec is well after it. */
	assert_int_equal(blob_seal(codec, &ref, BYTES_LIT("hello"), keep, &shelf), ERR_OK);
	shelf_clear(&shelf);
}

static enum err
open_header(void *arg, struct bytes chunk)
{
	const void **a = arg;
	struct snapshot_header h;
	uint8_t account[16] = {1};
	const uint64_t *n = a[1];
	return snapshot_open_header(account, a[0], *n, a[2], chunk, &h);
}

static void
a_snapshot_opens_at_its_place_only(void **state)
{
	struct blob_codec *codec = *state;
	struct member_keys keys;
	make_keys(&keys, 2);
	uint8_t account[16] = {1};
	uint8_t head[32] = {2};
	uint8_t name[16];
	uint64_t stored = 0;
	uint64_t n = 77;
	struct buf body = BUF_INIT(1 << 20);
	struct buf back = BUF_INIT(1 << 20);
	struct shelf shelf = {.count = 0};
	fill(&body, 300000, 1);
	assert_int_equal(
	    snapshot_seal(codec, account, &keys, n, head, buf_bytes(&body), keep, &shelf, name, &stored),
	    ERR_OK);
	struct snapshot_header h;
	assert_int_equal(snapshot_open_header(account, &keys, n, name, buf_bytes(&shelf.chunks[0]), &h),
			 ERR_OK);
	assert_int_equal(h.n, 77);
	assert_memory_equal(h.head, head, 32);
	assert_int_equal(h.body.chunks + 1, shelf.count);
	assert_int_equal(h.body.stored + shelf.chunks[0].len, stored);
	assert_int_equal(read_all(codec, &h.body, &shelf, 1, &back), ERR_OK);
	assert_true(bytes_equal(buf_bytes(&back), buf_bytes(&body)));
	const void *arg[3] = {&keys, &n, name};
	assert_every_change_is_found(buf_bytes(&shelf.chunks[0]), 100000, open_header, arg);
	assert_int_equal(snapshot_open_header(account, &keys, 78, name, buf_bytes(&shelf.chunks[0]), &h),
			 ERR_AUTH);
	account[0] = 9;
	assert_int_equal(snapshot_open_header(account, &keys, n, name, buf_bytes(&shelf.chunks[0]), &h),
			 ERR_AUTH);
	account[0] = 1;
	name[3] ^= 1;
	assert_int_equal(snapshot_open_header(account, &keys, n, name, buf_bytes(&shelf.chunks[0]), &h),
			 ERR_AUTH);
	name[3] ^= 1;
	struct member_keys fewer;
	make_keys(&fewer, 1);
	assert_int_equal(snapshot_open_header(account, &fewer, n, name, buf_bytes(&shelf.chunks[0]), &h),
			 ERR_NOT_FOUND);
	member_keys_clear(&fewer);
	member_keys_clear(&keys);
	shelf_clear(&shelf);
	buf_clear(&body);
	buf_clear(&back);
}

static int
with_codec(void **state)
{
	struct blob_codec *c = NULL;
	if (sealed_test_setup(state) != 0 || blob_codec_create(&c) != ERR_OK) {
		return -1;
	}
	*state = c;
	return 0;
}

static int
without_codec(void **state)
{
	struct blob_codec *c = *state;
	blob_codec_destroy(&c);
	return 0;
}

static void
a_name_tells_its_owner_to_who_has_the_key_alone(void **state)
{
	(void)state;
	static const uint8_t key[SEALED_KEY_LEN] = {1};
	static const uint8_t other[SEALED_KEY_LEN] = {2};
	uint8_t name[64][SEALED_ID_LEN];
	uint8_t owner[BLOB_OWNER_LEN];
	unsigned ones = 0;
	for (size_t i = 0; i < 64; i++) {
		uint8_t who[SEALED_ID_LEN] = {(uint8_t)(i % 2), 7};
		blob_name(key, who, name[i]);
		blob_name_owner(key, name[i], owner);
		assert_memory_equal(owner, who, BLOB_OWNER_LEN);
		blob_name_owner(other, name[i], owner);
		assert_memory_not_equal(owner, who, BLOB_OWNER_LEN);
		/* To others: no two names of one owner have anything in common. */
		for (size_t k = 0; k < i; k++) {
			assert_memory_not_equal(name[k], name[i], 8);
			assert_memory_not_equal(name[k] + 8, name[i] + 8, 8);
		}
		for (size_t k = 0; k < SEALED_ID_LEN; k++) {
			ones += (unsigned)__builtin_popcount(name[i][k]);
		}
	}
	/* 8192 fair bits: 4096 within six standard deviations of 45. */
	assert_in_range(ones, 4096 - 272, 4096 + 272);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_name_tells_its_owner_to_who_has_the_key_alone),
	    cmocka_unit_test(every_message_comes_back_as_it_went_in),
	    cmocka_unit_test(sizes_show_only_the_step_of_the_ladder),
	    cmocka_unit_test(each_change_to_a_blob_is_found),
	    cmocka_unit_test(a_frame_that_says_another_size_is_refused),
	    cmocka_unit_test(the_writer_stops_where_it_must),
	    cmocka_unit_test(a_snapshot_opens_at_its_place_only),
	};
	return cmocka_run_group_tests(tests, with_codec, without_codec);
}
