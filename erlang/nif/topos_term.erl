%% @doc Typed terms: descriptors of Topos types, and the checked conversion of terms to and from bytes.
%%
%% ```
%% {ok, Users} = topos_term:descriptor({list, {record, [{name, text}, {age, int}]}}),
%% ok = topos_term:check(Users, [#{name => <<"Ada">>, age => 36}]),
%% {error, {type_mismatch, #{path := <<"[0].age">>}}} = topos_term:check(Users, [#{name => <<"Ada">>, age => old}]),
%% {ok, Bytes} = topos_term:encode(Users, [#{name => <<"Ada">>, age => 36}]),
%% {ok, [#{age := 36}]} = topos_term:decode(Users, Bytes).
%% '''
%% A descriptor is compiled once, kept (a module's `persistent_term', a process' state) and used by any process of the VM.
%%
%% == Bytes ==
%% They are Erlang's external term format: {@link decode/2} reads what `term_to_binary/1' writes (uncompressed, OTP 25 and
%% later), and `binary_to_term/1' reads what {@link encode/2} writes. `encode/2' writes one form of each value: atoms in UTF-8,
%% integers in the shortest form, lists never as strings, maps with their pairs in the order of the keys' bytes. So equal
%% values have equal bytes, on every release, except that `0.0' and `-0.0' differ, and what is inside functions.
%%
%% == Bytes of peers ==
%% {@link decode/3} makes no atom that the VM does not know, beyond a budget; refuses compressed terms; keeps the nesting of
%% what is typed within a limit; and allocates in proportion to the bytes that came, never to a number in them. A function that comes in bytes is the
%% one thing that no descriptor makes safe: calling it runs code that its sender has chosen.
%%
%% A text of 4,096 bytes or more that is at least half of the bytes it is decoded from is a view of them. They live as long as it
%% does, and with them whatever they are a view of: `binary:copy/1' what came in something much larger.
%%
%% == Scheduling ==
%% Work is charged to the caller; what takes more than about a millisecond is done on a dirty scheduler.
-module(topos_term).

-export([descriptor/1, check/2, encode/2, decode/2, decode/3, new_atoms/2]).
-export_type([descriptor/0, shape/0, options/0]).

-opaque descriptor() :: topos_nif:descriptor().
%% Compiled. It belongs to this VM: send the shape instead.

-type shape() ::
    any
    | int
    | float
    | text
    | bool
    | unit
    | atom
    | pid
    | function
    | {list, shape()}
    | {tuple, [shape()]}
    | {map, shape(), shape()}
    | {record, [{Field :: atom(), shape()}]}
    | {variant, [{Constructor :: atom(), [shape()]}]}
    | {recursive, Name :: atom() | binary(), shape()}
    | {reference, Name :: atom() | binary()}.
%% `text' is a binary of valid UTF-8, `unit' the atom `ok', `atom' any atom, `function' any function. A record is a map with
%% exactly these atoms as keys; a constructor without fields is its atom, one with fields a tuple `{Constructor, Field, ...}'.
%% `{reference, Name}' stands for the `recursive' around it that has the name. At most 128 levels and 16,384 nodes.

-type options() :: #{max_new_atoms => non_neg_integer(), max_depth => pos_integer()}.
%% How many atoms the bytes may make, where the type is `any', `atom', `pid' or `function' (default 0: only those that exist),
%% and how deep the value may be nested (default 10,000). What is inside `any' the VM reads, which sets no limit to nesting and
%% needs none.

-define(MAX_DEPTH, 10_000).

%% @doc Compiles a descriptor. The error is `invalid_descriptor', and says which part is none; or that of {@link
%% topos_nif:status/0}, without a library.
-spec descriptor(shape()) -> {ok, descriptor()} | {error, topos_error:t()}.
descriptor(Shape) ->
    case topos_nif:status() of
        ok -> compile(Shape);
        {error, _} = Error -> Error
    end.

%% @doc Whether a term has the type. The error `type_mismatch' names the `path' (`<<"[3].age">>', `<<"value">>' for the term
%% itself), what was `expected' and what it `got', each a short text. What the type calls `any' is not looked into.
-spec check(descriptor(), term()) -> ok | {error, topos_error:t()}.
check(Descriptor, Term) ->
    case topos_nif:term_check(Descriptor, Term, ?MAX_DEPTH) of
        ok -> ok;
        dirty -> result(topos_nif:term_check_dirty(Descriptor, Term, ?MAX_DEPTH));
        Failed -> result(Failed)
    end.

%% @doc The canonical bytes of a term, if it has the type; otherwise the error of {@link check/2}.
-spec encode(descriptor(), term()) -> {ok, binary()} | {error, topos_error:t()}.
encode(Descriptor, Term) ->
    case topos_nif:term_encode(Descriptor, Term, ?MAX_DEPTH) of
        {ok, _} = Ok -> Ok;
        dirty -> result(topos_nif:term_encode_dirty(Descriptor, Term, ?MAX_DEPTH));
        Failed -> result(Failed)
    end.

%% @equiv decode(Descriptor, Bytes, #{})
-spec decode(descriptor(), binary()) -> {ok, term()} | {error, topos_error:t()}.
decode(Descriptor, Bytes) ->
    decode(Descriptor, Bytes, 0, ?MAX_DEPTH).

%% @doc The term that the bytes are, if it has the type. Errors: `type_mismatch', as {@link check/2}; `malformed_term' with
%% `why' and the `offset' in bytes; `too_many_atoms' with the `limit'.
-spec decode(descriptor(), binary(), options()) -> {ok, term()} | {error, topos_error:t()}.
decode(Descriptor, Bytes, Options) ->
    decode(Descriptor, Bytes, maps:get(max_new_atoms, Options, 0), maps:get(max_depth, Options, ?MAX_DEPTH)).

%% @doc The names of the atoms in the bytes of any term that this VM does not know, each once, in the order they come: what
%% `binary_to_term/1' would make. More than `Max' are the error `too_many_atoms'; bytes that are no term, or compressed, are
%% `malformed_term'. `binary_to_term/1' may still refuse bytes that passed here.
-spec new_atoms(binary(), Max :: non_neg_integer()) -> {ok, [unicode:unicode_binary()]} | {error, topos_error:t()}.
new_atoms(Bytes, Max) ->
    case topos_nif:term_new_atoms(Bytes, Max) of
        {ok, _} = Ok -> Ok;
        dirty -> result(topos_nif:term_new_atoms_dirty(Bytes, Max));
        Failed -> result(Failed)
    end.

%% internal

-spec compile(shape()) -> {ok, descriptor()} | {error, topos_error:t()}.
compile(Shape) ->
    case topos_nif:term_descriptor(Shape) of
        {ok, _} = Ok -> Ok;
        {error, {invalid_descriptor, Why}} -> {error, topos_error:new(invalid_descriptor, #{why => Why})}
    end.

-spec decode(descriptor(), binary(), non_neg_integer(), pos_integer()) -> {ok, term()} | {error, topos_error:t()}.
decode(Descriptor, Bytes, NewAtoms, Depth) ->
    case topos_nif:term_decode(Descriptor, Bytes, Depth, NewAtoms) of
        {ok, _} = Ok -> Ok;
        dirty -> result(topos_nif:term_decode_dirty(Descriptor, Bytes, Depth, NewAtoms));
        Failed -> result(Failed)
    end.

-spec result(Ok | {error, topos_nif:fault()}) -> Ok | {error, topos_error:t()}.
result({error, {type_mismatch, Path, Expected, Got}}) ->
    {error, topos_error:new(type_mismatch, #{path => Path, expected => Expected, got => Got})};
result({error, {malformed_term, Why, Offset}}) ->
    {error, topos_error:new(malformed_term, #{why => Why, offset => Offset})};
result({error, {too_many_atoms, Limit}}) ->
    {error, topos_error:new(too_many_atoms, #{limit => Limit, node => <<"the sender">>})};
result(Ok) ->
    Ok.
