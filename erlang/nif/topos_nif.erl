%% @doc The stub of the native library: every NIF, and how the library is loaded. Nothing else calls the NIFs but the
%% families `topos_term', `topos_overlay_nif' and `topos_lane_buffer', which are ordinary modules: a module with NIFs cannot be upgraded while it
%% runs, so this one has no logic that might need it.
%%
%% Loading never fails: where the library is missing, or another version than this module needs, the module loads without
%% it, {@link status/0} says why, and every NIF raises that error. So a node that lacks its library refuses to start with
%% one clear error, rather than with `undef' somewhere later.
%%
%% == Upgrades ==
%% A running VM keeps this module and the library it has loaded, even after a build replaced their files; loading the module
%% again is refused, and changes nothing. After an upgrade that changes the version of the library, restart the VM.
-module(topos_nif).

-export([status/0, version/0]).
-export([library_version/0, panic_on_purpose/0]).
-export([overlay_new/3, overlay_handle/3, overlay_handle_dirty/3, overlay_view/1, overlay_reserve/1, overlay_path/2, overlay_graph/1]).
-export([swim_new/2, swim_handle/3]).
-export([lane_new/2, lane_push/4, lane_push_item/4, lane_close/1, lane_take/1]).
-export([term_descriptor/1, term_check/3, term_encode/3, term_decode/4, term_new_atoms/2]).
-export([term_check_dirty/3, term_encode_dirty/3, term_decode_dirty/4, term_new_atoms_dirty/2]).
-export_type([overlay/0, swim/0, lane/0, descriptor/0, fault/0]).

-on_load(load/0).

%% The version of the library that this module needs: the release, and a number that grows with every change of the NIFs.
%% `native/topos-nif/src/load.rs' has the same.
-ifndef(TOPOS_NIF_VERSION).
-define(TOPOS_NIF_VERSION, "0.1.0-nif5").
-endif.

-define(LOAD_ERROR, {?MODULE, load_error}).

-opaque overlay() :: reference().
-opaque swim() :: reference().
-opaque lane() :: reference().
-opaque descriptor() :: reference().

-type fault() ::
    {type_mismatch, Path :: binary(), Expected :: binary(), Got :: binary()}
    | {malformed_term, Why :: binary(), Offset :: non_neg_integer()}
    | {too_many_atoms, Limit :: non_neg_integer()}.

%% @doc Whether the library is loaded: `ok', `{error, {stale_library, _}}' for one of another version, or `{error,
%% {library_not_loaded, _}}' where there is none that this VM can load.
-spec status() -> ok | {error, topos_error:t()}.
status() ->
    case persistent_term:get(?LOAD_ERROR, ok) of
        ok -> ok;
        Error -> {error, Error}
    end.

%% @doc The version that this module needs of its library.
-spec version() -> binary().
version() -> <<?TOPOS_NIF_VERSION>>.

%% @doc The version of the library that is loaded.
-spec library_version() -> binary().
library_version() -> erlang:nif_error(unloaded()).

%% @private Panics in Rust. What the caller sees is the error `nif_panicked'.
-spec panic_on_purpose() -> no_return().
panic_on_purpose() -> erlang:nif_error(unloaded()).

%% @private See {@link topos_swim_nif:new/2}.
-spec swim_new(map(), non_neg_integer()) -> {ok, swim()} | {error, tuple()}.
swim_new(_Params, _Seed) -> erlang:nif_error(unloaded()).

%% @private See {@link topos_swim_nif:handle/3}.
-spec swim_handle(swim(), non_neg_integer(), term()) -> {ok, [term()]} | {error, tuple()}.
swim_handle(_Swim, _Now, _Event) -> erlang:nif_error(unloaded()).

%% @private See {@link topos_overlay_nif:new/3}.
-spec overlay_new(atom(), map(), non_neg_integer()) -> {ok, overlay()} | {error, tuple()}.
overlay_new(_Kind, _Params, _Seed) -> erlang:nif_error(unloaded()).

%% @private See {@link topos_overlay_nif:handle/3}.
-spec overlay_handle(overlay(), non_neg_integer(), term()) -> {ok, [term()]} | dirty | {error, tuple()}.
overlay_handle(_Overlay, _Now, _Event) -> erlang:nif_error(unloaded()).

%% @private See {@link topos_overlay_nif:handle/3}.
-spec overlay_handle_dirty(overlay(), non_neg_integer(), term()) -> {ok, [term()]} | {error, tuple()}.
overlay_handle_dirty(_Overlay, _Now, _Event) -> erlang:nif_error(unloaded()).

%% @private See {@link topos_overlay_nif:view/1}.
-spec overlay_view(overlay()) -> [binary()].
overlay_view(_Overlay) -> erlang:nif_error(unloaded()).

%% @private See {@link topos_overlay_nif:reserve/1}.
-spec overlay_reserve(overlay()) -> [binary()].
overlay_reserve(_Overlay) -> erlang:nif_error(unloaded()).

%% @private See {@link topos_overlay_nif:path/2}.
-spec overlay_path(overlay(), binary()) -> [binary()].
overlay_path(_Overlay, _Target) -> erlang:nif_error(unloaded()).

%% @private See {@link topos_overlay_nif:graph/1}.
-spec overlay_graph(overlay()) -> [{binary(), [binary()]}].
overlay_graph(_Overlay) -> erlang:nif_error(unloaded()).

%% @private See {@link topos_lane_buffer:new/2}.
-spec lane_new(pos_integer(), pos_integer()) -> lane().
lane_new(_Count, _Bytes) -> erlang:nif_error(unloaded()).

%% @private See {@link topos_lane_buffer:push/3}.
-spec lane_push(lane(), pid(), binary(), binary()) -> ok | closed.
lane_push(_Lane, _Process, _Head, _Tail) -> erlang:nif_error(unloaded()).

%% @private See {@link topos_lane_buffer:push_item/4}.
-spec lane_push_item(lane(), pid(), term(), non_neg_integer()) -> ok | closed.
lane_push_item(_Lane, _Process, _Item, _Bytes) -> erlang:nif_error(unloaded()).

%% @private See {@link topos_lane_buffer:close/1}.
-spec lane_close(lane()) -> ok.
lane_close(_Lane) -> erlang:nif_error(unloaded()).

%% @private See {@link topos_lane_buffer:take/1}.
-spec lane_take(lane()) -> {records, pos_integer(), binary()} | {items, [term()]} | empty.
lane_take(_Lane) -> erlang:nif_error(unloaded()).

%% @private See {@link topos_term:descriptor/1}.
-spec term_descriptor(term()) -> {ok, descriptor()} | {error, {invalid_descriptor, binary()}}.
term_descriptor(_Shape) -> erlang:nif_error(unloaded()).

%% @private See {@link topos_term:check/2}. `dirty' asks for the dirty one of the same name, here and below.
-spec term_check(descriptor(), term(), pos_integer()) -> ok | dirty | {error, fault()}.
term_check(_Descriptor, _Term, _Depth) -> erlang:nif_error(unloaded()).

%% @private
-spec term_check_dirty(descriptor(), term(), pos_integer()) -> ok | {error, fault()}.
term_check_dirty(_Descriptor, _Term, _Depth) -> erlang:nif_error(unloaded()).

%% @private See {@link topos_term:encode/2}.
-spec term_encode(descriptor(), term(), pos_integer()) -> {ok, binary()} | dirty | {error, fault()}.
term_encode(_Descriptor, _Term, _Depth) -> erlang:nif_error(unloaded()).

%% @private
-spec term_encode_dirty(descriptor(), term(), pos_integer()) -> {ok, binary()} | {error, fault()}.
term_encode_dirty(_Descriptor, _Term, _Depth) -> erlang:nif_error(unloaded()).

%% @private See {@link topos_term:decode/3}.
-spec term_decode(descriptor(), binary(), pos_integer(), non_neg_integer()) ->
    {ok, term()} | dirty | {error, fault()}.
term_decode(_Descriptor, _Bytes, _Depth, _NewAtoms) -> erlang:nif_error(unloaded()).

%% @private
-spec term_decode_dirty(descriptor(), binary(), pos_integer(), non_neg_integer()) -> {ok, term()} | {error, fault()}.
term_decode_dirty(_Descriptor, _Bytes, _Depth, _NewAtoms) -> erlang:nif_error(unloaded()).

%% @private See {@link topos_term:new_atoms/2}.
-spec term_new_atoms(binary(), non_neg_integer()) -> {ok, [binary()]} | dirty | {error, fault()}.
term_new_atoms(_Bytes, _Max) -> erlang:nif_error(unloaded()).

%% @private
-spec term_new_atoms_dirty(binary(), non_neg_integer()) -> {ok, [binary()]} | {error, fault()}.
term_new_atoms_dirty(_Bytes, _Max) -> erlang:nif_error(unloaded()).

%% internal

%% What a NIF raises that is not loaded.
-spec unloaded() -> topos_error:t() | not_loaded.
unloaded() ->
    case status() of
        {error, Error} -> Error;
        ok -> not_loaded
    end.

%% Where an older instance of this module has the library, the new one is refused (`code:load_file/1' answers
%% `on_load_failure') and the old one stays: a node keeps its NIFs when somebody reloads its modules.
-spec load() -> ok | {error, upgrade_not_supported}.
load() ->
    case erlang:load_nif(path(), {version(), self()}) of
        ok ->
            _ = persistent_term:erase(?LOAD_ERROR),
            ok;
        {error, {upgrade, _}} ->
            {error, upgrade_not_supported};
        {error, Why} ->
            persistent_term:put(?LOAD_ERROR, load_error(Why)),
            ok
    end.

%% The library refused (`load_failed' with its version in the mailbox), has a NIF that this module has not (`bad_lib': it is
%% another version, which it was never asked for), or is not there.
-spec load_error({atom(), string()}) -> topos_error:t().
load_error({Reason, Text}) ->
    receive
        {topos_nif_version, Found} -> stale(Found)
    after 0 ->
        case Reason of
            bad_lib -> stale(<<"unknown">>);
            _ -> topos_error:new(library_not_loaded, #{why => unicode:characters_to_binary(Text)})
        end
    end.

-spec stale(binary()) -> topos_error:t().
stale(Found) -> topos_error:new(stale_library, #{found => Found, needed => version()}).

%% Beside `ebin', where the application is not (yet) on the code path as one: in `_checkouts', in an escript's folder.
-spec path() -> file:filename().
path() ->
    Priv =
        case code:priv_dir(topos_partisan) of
            {error, bad_name} -> filename:join([filename:dirname(beam()), "..", "priv"]);
            Dir -> Dir
        end,
    filename:join(Priv, "topos_nif").

-spec beam() -> file:filename().
beam() ->
    case code:which(?MODULE) of
        File when is_list(File) -> File;
        _ -> "."
    end.
