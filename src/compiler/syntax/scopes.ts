/** Which declaration a name means, and whether it is ever assigned again. */
import type * as acorn from "acorn";
import { type AnyNode, type Ast, eachChild, isFunction } from "./ast.ts";

export interface Binding {
  readonly name: string;
  readonly kind: "import" | "const" | "let" | "var" | "function" | "class" | "param" | "catch";
  /** The identifier that declares it. */
  readonly node: Ast;
  /** Declared at the top level of the module. */
  readonly top: boolean;
  /** Places that assign it after its declaration. */
  readonly assigned: Ast[];
}

interface Scope {
  readonly parent: Scope | undefined;
  /** `var` and functions go to the nearest of these. */
  readonly isFunction: boolean;
  readonly names: Map<string, Binding>;
}

/** Members that hold types, which mention no values. */
export const TYPE_ONLY = new Set([
  "typeAnnotation",
  "returnType",
  "typeParameters",
  "typeArguments",
  "superTypeParameters",
  "implements",
]);

/** The scopes of a module. */
export class Scopes {
  readonly top: ReadonlyMap<string, Binding>;
  readonly #around = new Map<Ast, Scope>();
  readonly #assignments: { target: Ast & { name: string }; scope: Scope }[] = [];

  /** Module-level names alone, which needs no look into functions. */
  static names(program: acorn.Program): string[] {
    return [...new Scopes(program, false).top.keys()];
  }

  constructor(program: acorn.Program, inside = true) {
    const top: Scope = { parent: undefined, isFunction: true, names: new Map() };
    this.top = top.names;
    this.#hoist(program as unknown as AnyNode, top, top);
    if (!inside) return;
    for (const statement of program.body) this.#visit(statement as unknown as AnyNode, top);
    for (const { target, scope } of this.#assignments) lookup(scope, target.name)?.assigned.push(target);
  }

  /** What `name` means just outside of the function `fn`; undefined for globals. */
  outside(fn: Ast, name: string): Binding | undefined {
    const scope = this.#around.get(fn);
    return scope === undefined ? undefined : lookup(scope, name);
  }

  #declare(scope: Scope, node: AnyNode, kind: Binding["kind"]): void {
    for (const id of patternIds(node)) {
      if (scope.names.has(id.name)) continue;
      scope.names.set(id.name, { name: id.name, kind, node: id, top: scope.parent === undefined, assigned: [] });
    }
  }

  /** Declares what a block's statements declare before any of it runs. `owner` takes `var`. */
  #hoist(block: AnyNode, scope: Scope, owner: Scope): void {
    for (const statement of (block["body"] ?? []) as AnyNode[]) this.#hoistStatement(statement, scope, owner);
  }

  #hoistStatement(statement: AnyNode, scope: Scope, owner: Scope): void {
    if (statement["declare"] === true) return;
    switch (statement.type) {
      case "ExportNamedDeclaration":
      case "ExportDefaultDeclaration":
        if (statement["declaration"] !== null) this.#hoistStatement(statement["declaration"] as AnyNode, scope, owner);
        return;
      case "ImportDeclaration":
        if (statement["importKind"] === "type") return;
        for (const s of statement["specifiers"] as AnyNode[]) {
          if (s["importKind"] !== "type" || s.type !== "ImportSpecifier")
            this.#declare(scope, s["local"] as AnyNode, "import");
        }
        return;
      case "FunctionDeclaration":
      case "ClassDeclaration":
        if (statement["id"] !== null) {
          this.#declare(
            scope,
            statement["id"] as AnyNode,
            statement.type === "ClassDeclaration" ? "class" : "function",
          );
        }
        return;
      case "TSEnumDeclaration":
        this.#declare(scope, statement["id"] as AnyNode, "const");
        return;
      case "VariableDeclaration": {
        const kind = statement["kind"] as "var" | "let" | "const";
        const names = kind === "var" ? owner : scope;
        for (const d of statement["declarations"] as AnyNode[])
          this.#declare(names, d["id"] as AnyNode, kind === "var" ? "var" : kind === "let" ? "let" : "const");
        return;
      }
      default:
        this.#hoistVars(statement, owner);
    }
  }

  /** `var` in nested statements. */
  #hoistVars(node: AnyNode, owner: Scope): void {
    if (isFunction(node) || node.type.startsWith("Class")) return;
    if (node.type === "VariableDeclaration" && node["kind"] === "var") {
      for (const d of node["declarations"] as AnyNode[]) this.#declare(owner, d["id"] as AnyNode, "var");
    }
    if (/Statement$|^SwitchCase$|^CatchClause$/.test(node.type))
      eachChild(node, (child) => this.#hoistVars(child, owner));
  }

  #visit(node: AnyNode, scope: Scope): void {
    if (isFunction(node)) {
      this.#function(node as unknown as AnyNode, scope);
      return;
    }
    let inner = scope;
    switch (node.type) {
      case "BlockStatement":
      case "StaticBlock":
        inner = child(scope, node.type === "StaticBlock");
        this.#hoist(node, inner, functionScope(inner));
        break;
      case "ForStatement":
      case "ForInStatement":
      case "ForOfStatement": {
        inner = child(scope, false);
        const declaration = (node["init"] ?? node["left"]) as AnyNode | null;
        if (declaration?.type === "VariableDeclaration") this.#hoistStatement(declaration, inner, functionScope(inner));
        else if (node.type !== "ForStatement" && declaration !== null) this.#assign(declaration, inner);
        break;
      }
      case "SwitchStatement":
        inner = child(scope, false);
        for (const c of node["cases"] as AnyNode[]) {
          for (const statement of c["consequent"] as AnyNode[])
            this.#hoistStatement(statement, inner, functionScope(inner));
        }
        break;
      case "CatchClause":
        inner = child(scope, false);
        if (node["param"] !== null) this.#declare(inner, node["param"] as AnyNode, "catch");
        break;
      case "ClassExpression":
      case "ClassDeclaration":
        inner = child(scope, false);
        if (node["id"] !== null && node["id"] !== undefined) this.#declare(inner, node["id"] as AnyNode, "class");
        break;
      case "AssignmentExpression":
        this.#assign(node["left"] as AnyNode, scope);
        break;
      case "UpdateExpression":
        this.#assign(node["argument"] as AnyNode, scope);
        break;
    }
    eachChild(node, (c, member) => {
      if (!TYPE_ONLY.has(member)) this.#visit(c, inner);
    });
  }

  #function(node: AnyNode, scope: Scope): void {
    this.#around.set(node, scope);
    const own = child(scope, true);
    if (node.type === "FunctionExpression" && node["id"] !== null && node["id"] !== undefined)
      this.#declare(own, node["id"] as AnyNode, "function");
    for (const param of node["params"] as AnyNode[]) this.#declare(own, param, "param");
    const body = node["body"] as AnyNode;
    if (body.type === "BlockStatement") this.#hoist(body, own, own);
    for (const param of node["params"] as AnyNode[]) this.#visit(param, own);
    if (body.type === "BlockStatement") for (const statement of body["body"] as AnyNode[]) this.#visit(statement, own);
    else this.#visit(body, own);
  }

  #assign(target: AnyNode, scope: Scope): void {
    for (const id of patternIds(target)) this.#assignments.push({ target: id, scope });
  }
}

function child(parent: Scope, isFunctionScope: boolean): Scope {
  return { parent, isFunction: isFunctionScope, names: new Map() };
}

function functionScope(scope: Scope): Scope {
  let at = scope;
  while (!at.isFunction && at.parent !== undefined) at = at.parent;
  return at;
}

function lookup(scope: Scope, name: string): Binding | undefined {
  for (let at: Scope | undefined = scope; at !== undefined; at = at.parent) {
    const binding = at.names.get(name);
    if (binding !== undefined) return binding;
  }
  return undefined;
}

/** The identifiers that a pattern binds or assigns. */
export function patternIds(node: AnyNode | null): (Ast & { name: string })[] {
  switch (node?.type) {
    case "Identifier":
      return [node as unknown as Ast & { name: string }];
    case "ObjectPattern":
      return (node["properties"] as AnyNode[]).flatMap((p) => patternIds((p["argument"] ?? p["value"]) as AnyNode));
    case "ArrayPattern":
      return (node["elements"] as (AnyNode | null)[]).flatMap(patternIds);
    case "AssignmentPattern":
      return patternIds(node["left"] as AnyNode);
    case "RestElement":
      return patternIds(node["argument"] as AnyNode);
    case "TSAsExpression":
    case "TSNonNullExpression":
    case "TSSatisfiesExpression":
    case "TSTypeAssertion":
    case "ParenthesizedExpression":
      return patternIds(node["expression"] as AnyNode);
    case "TSParameterProperty":
      return patternIds(node["parameter"] as AnyNode);
    default:
      return [];
  }
}
