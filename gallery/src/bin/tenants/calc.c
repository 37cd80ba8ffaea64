/* calc: computes formulas such as "x = 3; 2 * (x + 4)", and is like many a library of its age:
 * quick, useful, and only safe with input that its author has thought of.
 *
 * It exits when it does not understand something, overflows its stack when parentheses are too
 * deep, writes where it must not when a size overflows, never ends with a negative exponent, keeps
 * what it allocates, and has a table of names that fills up.
 */

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA = 1 << 20, MOST_NAMES = 32, NOT_UNDERSTOOD = 3, TOO_MANY_NAMES = 4 };

static const char *next;                        /* what was not read yet */
static char *arena;                             /* where a formula's names are */
static struct { char *name; int64_t value; } names[MOST_NAMES];
static int count;

static void fail(int code, const char *message)
{
    fprintf(stderr, "calc: %s\n", message);
    exit(code);
}

static void *allocate(size_t size)
{
    void *memory = malloc(size);
    if (memory == NULL) {
        fprintf(stderr, "calc: out of memory\n");
        abort();
    }
    return memset(memory, '?', size);   /* some like to see what was not set */
}

static int has(char wanted)
{
    while (isspace((unsigned char)*next))
        next++;
    if (*next != wanted)
        return 0;
    next++;
    return 1;
}

static int64_t sum_of_terms(void);

/* The sum of 1, 2, ..., n. */
static int64_t sum_up_to(int64_t n)
{
    int64_t sum = 0, *table = allocate((size_t)n * sizeof *table);
    for (int64_t i = 0; i < n; i++)
        sum += table[i] = i + 1;
    return sum;
}

static int64_t named(void)
{
    char *name = arena;
    int at = 0;
    while (isalnum((unsigned char)*next))
        *arena++ = *next++;
    *arena++ = '\0';
    if (strcmp(name, "sum") == 0 && has('(')) {
        int64_t n = sum_of_terms();
        if (!has(')'))
            fail(NOT_UNDERSTOOD, "a ) is missing");
        return sum_up_to(n);
    }
    while (at < count && strcmp(names[at].name, name) != 0)
        at++;
    if (at == MOST_NAMES)
        fail(TOO_MANY_NAMES, "too many names");
    if (at == count)
        names[count++].name = name;
    if (has('=')) {
        names[at].value = sum_of_terms();
        fprintf(stderr, "calc: %s is %lld\n", name, (long long)names[at].value);
    }
    return names[at].value;
}

static int64_t operand(void)
{
    if (has('-'))
        return -operand();
    if (has('(')) {
        int64_t value = sum_of_terms();
        if (!has(')'))
            fail(NOT_UNDERSTOOD, "a ) is missing");
        return value;
    }
    if (isdigit((unsigned char)*next))
        return strtoll(next, (char **)&next, 10);
    if (!isalpha((unsigned char)*next))
        fail(NOT_UNDERSTOOD, "a number or a name is missing");
    return named();
}

static int64_t power(void)
{
    int64_t base = operand(), value = 1;
    if (!has('^'))
        return base;
    for (uint64_t exponent = (uint64_t)power(); exponent != 0; exponent--)
        value *= base;
    return value;
}

static int64_t product(void)
{
    int64_t value = power();
    while (has('*'))
        value *= power();
    return value;
}

static int64_t sum_of_terms(void)
{
    int64_t value = product();
    for (;;) {
        if (has('+'))
            value += product();
        else if (has('-'))
            value -= product();
        else
            return value;
    }
}

/* The value of the last of several formulas. */
int64_t calc(const char *text)
{
    int64_t value;
    next = text;
    arena = allocate(ARENA);
    for (int at = 0; at < count; at++)
        names[at].value = 0;
    do
        value = sum_of_terms();
    while (has(';'));
    if (*next != '\0')
        fail(NOT_UNDERSTOOD, "an operator is missing");
    return value;
}
